"""Speed of the local engine, compared with transformers' own generate.

    python benchmarks/generation.py [--model NAME] [--device cpu] [--tokens 64] [--repeats 3] [--threads N]

Prints a table, then one JSON line. The two sides take turns in one run; times are the best of the repeats and include
preprocessing. Without --model the network has tiny's size and random weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import option_parser, random_model, real_photos, report, taking_turns

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.tasks import TASKS

BATCH_SIZES = (1, 4, 8, 24)


def main() -> None:
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        engine = load_engine(options.model or random_model(Path(folder)), device=options.device)
    decoding = Decoding(max_new_tokens=options.tokens)
    settings = {
        "model": options.model or "random weights, tiny's size",
        "device": str(engine._network.device),
        "dtype": engine.identity["dtype"],
        "threads": torch.get_num_threads(),
        "tokens": options.tokens,
    }
    rows = [_batch(engine, requests(size), decoding, options.repeats) for size in BATCH_SIZES]
    report("generation", rows, **settings)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--model", help="any name that qinsight takes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=64, help="tokens per completion")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    return parser.parse_args()


def requests(count: int) -> list[Request]:
    """Score requests for crops of real photos, from 300 to 500 pixels wide, all different."""

    photos = real_photos()
    messages = TASKS["score"].messages(("image",))
    found = []
    for index in range(count):
        width, height = 300 + 40 * (index % 6), 240 + 30 * (index % 5)
        found.append(Request(messages, (photos[index % 3].crop((index, index, index + width, index + height)),), index))
    return found


def _batch(engine: LocalEngine, batch: list[Request], decoding: Decoding, repeats: int) -> dict[str, Any]:
    """Pictures a second of both sides, and whether they wrote the same text (in float32 they should)."""
    network, processor = engine._network, engine._processor

    texts = {}

    def with_engine() -> float:
        started = time.perf_counter()
        texts["engine"] = [row[0].text for row in engine.generate(engine.prepare(batch), decoding)]
        return time.perf_counter() - started

    def with_generate() -> float:
        started = time.perf_counter()
        inputs = processor(
            text=[processor.apply_chat_template(r.messages, add_generation_prompt=True) for r in batch],
            images=[list(r.images) for r in batch],
            padding=True,
            return_tensors="pt",
        ).to(network.device)
        written = network.generate(
            **inputs, do_sample=False, max_new_tokens=decoding.max_new_tokens, suppress_tokens=engine._banned
        )
        texts["generate"] = processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return time.perf_counter() - started

    seconds = taking_turns({"engine": with_engine, "generate": with_generate}, repeats)
    return {
        "batch": len(batch),
        "engine img/s": len(batch) / seconds["engine"],
        "generate img/s": len(batch) / seconds["generate"],
        "ratio": seconds["generate"] / seconds["engine"],
        "same text": all(theirs.startswith(ours) for ours, theirs in zip(*texts.values(), strict=True)),
    }


if __name__ == "__main__":
    main()
