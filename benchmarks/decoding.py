"""The cost of decoding pictures in a separate process: the same scoring run with and without it, in turns.

    python benchmarks/decoding.py PHOTOS [--model tiny] [--rounds 3]

Prints seconds on the clock, processor seconds of both processes (which other work on the machine changes little), the
ratios of the medians, and one JSON line.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

from measuring import option_parser, processor_seconds

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.images import decode_image
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.images.worker import WORKER
from qinsight_cli.core.inference import prefetch
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.tasks import TASKS


class Here:
    """Decodes in this process as the worker does in its own."""

    def decode(self, data: bytes, name: str, max_pixels: int, target: Any) -> Any:
        image, notes = decode_image(data, name, max_pixels)
        return (image if target is None else target.fit(image)), notes

    def stop(self) -> None:
        return


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    items = [{"image": path} for path in find_images(given.photos)]
    engine = load_engine(given.model)
    seconds: dict[str, list[float]] = {"here": [], "worker": []}
    busy: dict[str, list[float]] = {"here": [], "worker": []}
    for turn in range(given.rounds + 1):
        for name, decoder in (("here", Here()), ("worker", WORKER)):
            prefetch.WORKER = decoder  # type: ignore[assignment]
            start, before = time.perf_counter(), processor_seconds()
            count = sum(1 for _ in assess(TASKS["score"], items, engine, Decoding()))
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
                busy[name].append(processor_seconds() - before)
    here, worker = (statistics.median(seconds[name]) for name in ("here", "worker"))
    own, both = (statistics.median(busy[name]) for name in ("here", "worker"))
    for what, first, second in (("on the clock", here, worker), ("of processor time", own, both)):
        change = f"{second / first - 1:+.1%}"
        print(f"{count} pictures, {what}: {first:.2f} s decoded here, {second:.2f} s in a process of its own: {change}")
    figures = {"here": here, "worker": worker, "ratio": worker / here, "busy_ratio": both / own}
    print(json.dumps({"pictures": count, **figures}))


if __name__ == "__main__":
    main()
