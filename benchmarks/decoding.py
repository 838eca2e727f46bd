"""The cost of decoding pictures in a separate process: the same scoring run with and without it, in turns.

    python benchmarks/decoding.py PHOTOS [--model tiny] [--rounds 3]

Prints the medians of seconds on the clock and of processor seconds of all processes (which other work on the machine
changes little), their ratios, and one JSON line.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from measuring import option_parser, processor_seconds, report

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
    rows = []
    for what, measured in (("seconds on the clock", seconds), ("processor seconds", busy)):
        here, worker = (statistics.median(measured[name]) for name in ("here", "worker"))
        rows.append({"what": what, "one process": here, "two processes": worker, "ratio": worker / here})
    report("decoding", rows, pictures=count)


if __name__ == "__main__":
    main()
