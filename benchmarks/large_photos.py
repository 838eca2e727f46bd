"""Photos of 12 megapixels: a scoring run compared with decoding alone and with the model alone.

    python benchmarks/large_photos.py [PHOTOS] [--count 16] [--pixels 12000000] [--model tiny] [--rounds 3]

A run in which both overlap takes as long as the slower of the two. Without PHOTOS, large photos are made of real ones,
side by side. The three take turns; seconds are on the clock. `draft` compares a JPEG that libjpeg decodes at a reduced
scale with the whole JPEG, both at the size that the model sees: the largest and the mean difference (0-255), and the
change of the variance of the Laplacian (sharpness). Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import option_parser, real_photos, report, taking_turns

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.images import decode_image, read_image
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.images.worker import WORKER
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.tasks import TASKS

SCORE = TASKS["score"]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        made = _photos(Path(folder), options.count, options.pixels)
        photos = find_images(options.photos, None, options.count) if options.photos else made
        engine, decoding = load_engine(options.model, device="cpu", dtype="float32"), Decoding(rating="expected")
        prepared = [_request(engine, path) for path in photos]

        def whole() -> float:
            started = time.perf_counter()
            found = list(assess(SCORE, [{"image": path} for path in photos], engine, decoding))
            assert all(each.error is None for each in found)
            return time.perf_counter() - started

        def decoding_alone() -> float:
            started = time.perf_counter()
            for path in photos:
                WORKER.decode(read_image(path)[0], path, target=engine.target)
            return time.perf_counter() - started

        def model_alone() -> float:
            started = time.perf_counter()
            at_a_time = engine.at_a_time(1, decoding)
            for start in range(0, len(prepared), at_a_time):
                engine.generate(engine.prepare(prepared[start : start + at_a_time]), decoding)
            return time.perf_counter() - started

        works = {"scoring run": whole, "decoding alone": decoding_alone, "model alone": model_alone}
        found = taking_turns(works, options.rounds)
        drafted = draft_differences(photos, engine.target)
    least = max(found["decoding alone"], found["model alone"])
    rows = [
        {"what": name, "seconds": seconds, "s/picture": seconds / len(photos), "ratio": seconds / least}
        for name, seconds in found.items()
    ]
    ratio = found["scoring run"] / least
    report("large_photos", rows, pictures=len(photos), ratio=ratio, to_reach=1.2, draft=drafted)


def _request(engine: Any, path: str) -> Request:
    image, _ = decode_image(read_image(path)[0], path)
    fitted = engine.target.fit(image) if engine.target else image
    return Request(SCORE.messages(("image",)), (fitted,), choices=SCORE.choices)


def draft_differences(photos: Sequence[str], target: Any) -> dict[str, float]:
    """The worst differences over the JPEG photos that can be decoded at a reduced scale; empty if there are none."""
    import numpy as np
    from PIL import Image

    worst = {"largest": 0.0, "mean": 0.0, "sharpness": 0.0}
    seen = False
    for path in photos:
        data, _ = read_image(path)
        reduced = Image.open(io.BytesIO(data))
        if target is None or reduced.format != "JPEG":
            continue
        full = np.asarray(target.fit(Image.open(io.BytesIO(data)).convert("RGB")), dtype=np.float64)
        before = reduced.size
        reduced.draft("RGB", (full.shape[1], full.shape[0]))
        if reduced.size == before:
            continue
        size = (full.shape[1], full.shape[0])
        other = np.asarray(reduced.convert("RGB").resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
        change = abs(_sharpness(other) / _sharpness(full) - 1)
        found = {"largest": np.abs(full - other).max(), "mean": np.abs(full - other).mean(), "sharpness": change}
        worst = {name: max(worst[name], float(value)) for name, value in found.items()}
        seen = True
    return worst if seen else {}


def _sharpness(pixels: Any) -> float:
    """Variance of the Laplacian of the mean of the channels."""
    grey = pixels.mean(axis=2)
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def _photos(folder: Path, count: int, pixels: int) -> list[str]:
    """Photos of 4:3 with this many pixels, tiled from real ones at different places, so that no two are the same."""
    from PIL import Image

    tiles = real_photos()
    width, height = round((pixels * 4 / 3) ** 0.5), round((pixels * 3 / 4) ** 0.5)
    paths = []
    for number in range(count):
        photo, tile = Image.new("RGB", (width, height)), tiles[number % len(tiles)]
        for left in range(-7 * number, width, tile.width):
            for top in range(0, height, tile.height):
                photo.paste(tile, (left, top))
        paths.append(str(folder / f"{number}.jpg"))
        photo.save(paths[-1], quality=90)
    return paths


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="*", help="files, folders or globs, as `qinsight score` takes them")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=12_000_000)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
