"""Pictures a second of a network of the 7B model's shape, compared with the authors' loop and the roofline.

    python benchmarks/gpu_throughput.py [--device cuda] [--batches 1,8,64,256] [--sizes 512x384,1024x768] [--tokens 150]
    python benchmarks/gpu_throughput.py --shape small --device cpu --batches 1,4 --sizes 128x96 --tokens 8

The weights are random. Both sides write exactly `--tokens` tokens a picture. "images/s" is the speed of the network
alone; "prepare ms" is the time on the CPU before it, which overlaps with the network in a real run. The roofline is
computed (roofline.py) from the published limits of the device, or from limits measured here. Prints a table and one
JSON line.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import authors_loop
from measuring import least_seconds, option_parser, report
from roofline import Shape as Roof
from roofline import device_limits

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.models import loading
from qinsight_cli.core.models.processor import make_processor
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.sft import new_model

SHAPES = {
    "7b": new_model.Shape(
        vision_depth=32,
        vision_hidden=1280,
        vision_heads=16,
        vision_intermediate=3420,
        patch=14,
        window=112,
        full_attention=(7, 15, 23, 31),
        text_hidden=3584,
        text_layers=28,
        text_heads=28,
        text_kv_heads=4,
        text_intermediate=18944,
        min_pixels=56 * 56,
        max_pixels=12_845_056,
    ),
    "small": new_model.Shape(patch=14, window=112, min_pixels=56 * 56, max_pixels=12_845_056),
}
VOCABULARY = {"7b": 152_064, "small": 0}  # 0: as many as the tokenizer has
WORDS = ["The photo is sharp, and its colours are natural."]


def main() -> None:
    options = _options()
    network, processor = _network(options.shape, options.device)
    plain = copy.deepcopy(network, {id(weight): weight for weight in network.parameters()})  # the same weights
    loading._speed_up(network.model.visual, "sdpa")
    engine = _engine(network, processor)
    operations, bandwidth, limits = device_limits(network.device, network.dtype)
    roof = Roof.of(network.config, network.dtype.itemsize)
    decoding = Decoding(max_new_tokens=options.tokens)
    answer = authors_loop.answerer(plain, processor, options.tokens, exactly=True)
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "one.png")
            _picture(size, 0).save(path)
            loop = 1 / least_seconds(lambda path=path: answer(path), options.repeats)
        for batch in options.batches:
            found = _measured(engine, size, batch, decoding, options.repeats)
            patches, prompt = found.pop("patches"), found.pop("prompt")
            best = batch / roof.seconds(batch, patches, prompt, options.tokens, operations, bandwidth)
            row = {"size": f"{size[0]}x{size[1]}", "batch": batch, "prompt": prompt, **found, "authors/s": loop}
            row |= {"ratio": found["images/s"] / loop, "roofline/s": best, "share": found["images/s"] / best}
            rows.append(row)
    report(
        "gpu_throughput",
        rows,
        shape=options.shape,
        device=_name(network.device),
        dtype=str(network.dtype).removeprefix("torch."),
        tokens=options.tokens,
        limits={"operations": operations, "bandwidth": bandwidth, "from": limits},
        to_reach={"ratio": 20, "share": 0.4},
    )


def _network(shape: str, device: str) -> tuple[Any, Any]:
    """A network with random weights on its device, and a processor for it."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    sizes = SHAPES[shape]
    tokenizer = new_model.build_tokenizer(WORDS, sizes.vocabulary)
    config = new_model._config(sizes, len(tokenizer), tokenizer.convert_tokens_to_ids)
    config.text_config.vocab_size = VOCABULARY[shape] or config.text_config.vocab_size
    where = loading.torch_device(device)
    before = torch.get_default_dtype()
    torch.set_default_dtype(loading.torch_dtype("auto", where))
    torch.manual_seed(0)
    try:
        with where:
            network = Qwen2_5_VLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    images = new_model._image_processor(sizes)
    return network, make_processor(images, tokenizer, new_model.CHAT_TEMPLATE)


def _engine(network: Any, processor: Any) -> LocalEngine:
    """An engine whose answers end only at the token limit."""
    import torch

    from qinsight_cli.core.engines.generate import Endings

    engine = LocalEngine(loading.Model(network, processor, {"model": "random"}))
    engine._writer._endings = Endings(frozenset(), torch.zeros(network.config.text_config.vocab_size, dtype=torch.bool))
    return engine


def _picture(size: tuple[int, int], seed: int) -> Any:
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _measured(
    engine: LocalEngine, size: tuple[int, int], batch: int, decoding: Decoding, repeats: int
) -> dict[str, Any]:
    """The speed of the network, the time to prepare a picture, and the patches and tokens of a prompt."""
    messages = TASKS["score"].messages(("image",))
    fit = engine.target.fit if engine.target else lambda image: image
    requests = [Request(messages, (fit(_picture(size, seed)),), seed) for seed in range(batch)]
    started = time.perf_counter()
    prepared = engine.prepare(requests)
    preparing = time.perf_counter() - started

    def work() -> None:
        for (completion,) in engine.generate(prepared, decoding):
            assert completion.completion_tokens == decoding.max_new_tokens

    return {
        "images/s": batch / least_seconds(work, repeats),
        "prepare ms": 1000 * preparing / batch,
        "patches": len(prepared.prompts.pixels) // batch,
        "prompt": prepared.lengths[0],
    }


def _name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _size(word: str) -> tuple[int, int]:
    width, height = word.split("x")
    return int(width), int(height)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="7b")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=150, help="tokens of every answer")
    parser.add_argument("--repeats", type=int, default=2)
    for name, default, kind in (("batches", "1,8,32,64,128,256", int), ("sizes", "512x384,1024x768", _size)):
        parser.add_argument(
            f"--{name}", default=default, type=lambda words, kind=kind: [kind(word) for word in words.split(",")]
        )
    return parser.parse_args()


if __name__ == "__main__":
    main()
