"""Batches of pictures of like sizes, compared with batches in the order given.

    python benchmarks/sorted_batches.py PHOTOS [--limit 64] [--batch-size 16] [--model tiny] [--repeats 2]

A batch is padded to its longest prompt; "padded" is the share of prompt tokens that this adds. The two take turns;
each figure is the least processor time of the repeats. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from measuring import option_parser, report, taking_turns

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.images import load_image
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.tasks import TASKS

SCORE = TASKS["score"]


def main() -> None:
    options = _options()
    engine = load_engine(options.model, device="cpu", dtype="float32")
    given = [_request(engine, path) for path in find_images(options.photos, None, options.limit)]
    alike = sorted(given, key=lambda request: request.images[0].width * request.images[0].height)
    orders = {"as given": given, "sorted by size": alike}
    found = taking_turns({name: _work(engine, order, options) for name, order in orders.items()}, options.repeats)
    rows = [
        {
            "order": name,
            "processor ms/picture": 1000 * found[name] / len(given),
            "padded": _padded(engine, order, options.batch_size),
            "ratio": found[name] / found["as given"],
        }
        for name, order in orders.items()
    ]
    report("sorted_batches", rows, model=options.model, pictures=len(given), batch_size=options.batch_size)


def _request(engine: Any, path: str) -> Request:
    image = load_image(path).image
    fitted = engine.target.fit(image) if engine.target else image
    return Request(SCORE.messages(("image",)), (fitted,), choices=SCORE.choices)


def _work(engine: Any, order: Sequence[Request], options: argparse.Namespace) -> Callable[[], float]:
    def work() -> float:
        started = time.process_time()
        for start in range(0, len(order), options.batch_size):
            batch = engine.prepare(order[start : start + options.batch_size])
            engine.generate(batch, Decoding(rating="expected", max_new_tokens=options.tokens))
        return time.process_time() - started

    return work


def _padded(engine: Any, order: Sequence[Request], size: int) -> float:
    """The share of all prompt tokens that is padding."""
    lengths = [engine.prepare(order[start : start + size]).lengths for start in range(0, len(order), size)]
    whole = sum(max(batch) * len(batch) for batch in lengths)
    return 1 - sum(map(sum, lengths)) / whole


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="+", help="files, folders or globs, as `qinsight score` takes them")
    parser.add_argument("--limit", type=int, default=64, help="only the first so many photos")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tokens", type=int, default=512, help="at most so many in an answer")
    parser.add_argument("--repeats", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
