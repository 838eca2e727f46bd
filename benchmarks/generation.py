"""Speed of the local engine beside transformers' own generate, and of samples that share one prefill.

    python benchmarks/generation.py [--model NAME] [--device cpu] [--tokens 64] [--repeats 3] [--threads N]

Prints a table, then one JSON line. All figures of a ratio come from one run, the two sides taking turns; times are the
best of the repeats. Without --model the network is one of tiny's size with random weights. Preprocessing is included.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.tasks import TASKS

BATCH_SIZES = (1, 4, 8, 24)
SAMPLES = 8


def main() -> None:
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        engine = load_engine(options.model or _random_model(Path(folder)), device=options.device)
    decoding = Decoding(max_new_tokens=options.tokens)
    rows = [_batch(engine, requests(size), decoding, options.repeats) for size in BATCH_SIZES]
    shared = _samples(engine, requests(1)[0], decoding, options.repeats)
    print(f"{'batch':>5} {'engine img/s':>13} {'generate img/s':>15} {'ratio':>6}  same text")
    for row in rows:
        print("{batch:>5} {engine:>13.2f} {generate:>15.2f} {ratio:>6.2f}  {same_text}".format(**row))
    print(
        f"{SAMPLES} samples of one picture: one prefill {shared['shared_s']:.2f} s, {SAMPLES} prompts "
        f"{shared['separate_s']:.2f} s, ratio {shared['ratio']:.2f}"
    )
    settings = {
        "model": options.model or "random weights, tiny's size",
        "device": str(engine._network.device),
        "dtype": engine.identity["dtype"],
        "threads": torch.get_num_threads(),
        "tokens": options.tokens,
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps({"benchmark": "generation", **settings, "batches": rows, "samples": shared}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="any name that qinsight takes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=64, help="tokens per completion")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    return parser.parse_args()


def _random_model(folder: Path) -> str:
    from qinsight_cli.core.training.sft.new_model import Shape, build

    build(folder, ["The photo is sharp, and its colours are natural."], Shape(), seed=0)
    return str(folder)


def requests(count: int) -> list[Request]:
    """Score requests for crops of real photos, from 300 to 500 pixels wide, all different."""
    import skimage.data
    from PIL import Image

    photos = [Image.fromarray(load()) for load in (skimage.data.coffee, skimage.data.astronaut, skimage.data.rocket)]
    messages = TASKS["score"].messages(("image",))
    found = []
    for index in range(count):
        width, height = 300 + 40 * (index % 6), 240 + 30 * (index % 5)
        found.append(Request(messages, (photos[index % 3].crop((index, index, index + width, index + height)),), index))
    return found


def _batch(engine: LocalEngine, batch: list[Request], decoding: Decoding, repeats: int) -> dict[str, Any]:
    """Pictures per second of both, and whether they wrote the same (in float32 they should)."""
    network, processor = engine._network, engine._processor

    def with_engine() -> list[str]:
        return [row[0].text for row in engine.generate(engine.prepare(batch), decoding)]

    def with_generate() -> list[str]:
        inputs = processor(
            text=[processor.apply_chat_template(r.messages, add_generation_prompt=True) for r in batch],
            images=[list(r.images) for r in batch],
            padding=True,
            return_tensors="pt",
        ).to(network.device)
        written = network.generate(
            **inputs, do_sample=False, max_new_tokens=decoding.max_new_tokens, suppress_tokens=engine._banned
        )
        return processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    (ours, our_texts), (theirs, their_texts) = _taking_turns(with_engine, with_generate, repeats)
    return {
        "batch": len(batch),
        "engine": len(batch) / ours,
        "generate": len(batch) / theirs,
        "ratio": theirs / ours,
        "same_text": all(b.startswith(a) for a, b in zip(our_texts, their_texts, strict=True)),
    }


def _samples(engine: LocalEngine, request: Request, decoding: Decoding, repeats: int) -> dict[str, float]:
    """Seconds for samples of one picture, sharing its prefill or each with a prompt of its own."""
    drawn = replace(decoding, temperature=1.0)
    together = replace(drawn, samples=SAMPLES)
    copies = [replace(request, seed=seed) for seed in range(SAMPLES)]
    (shared, _), (separate, _) = _taking_turns(
        lambda: engine.generate(engine.prepare([request]), together),
        lambda: engine.generate(engine.prepare(copies), drawn),
        repeats,
    )
    return {"shared_s": shared, "separate_s": separate, "ratio": separate / shared}


def _taking_turns(one: Callable[[], Any], other: Callable[[], Any], repeats: int) -> list[tuple[float, Any]]:
    """Best time and result of each, after one unmeasured round."""
    best = [float("inf"), float("inf")]
    results = [one(), other()]
    for _ in range(repeats):
        for index, work in enumerate((one, other)):
            started = time.perf_counter()
            work()
            best[index] = min(best[index], time.perf_counter() - started)
    return list(zip(best, results, strict=True))


if __name__ == "__main__":
    main()
