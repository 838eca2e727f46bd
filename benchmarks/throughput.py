"""Pictures a second of `qinsight score` with its default settings, compared with the loop of the authors' demo.

    python benchmarks/throughput.py PHOTOS [--limit 200] [--model tiny] [--batch-size N] [--mode direct]

Both have the same weights, in float32 on the CPU, each in its own process. They take turns of a hundred photos, so
that a busy machine slows both. Processor seconds count all threads and the process that decodes pictures; other work on
the machine changes them little. Prints how many answers are the same, a table, and one JSON line.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import authors_loop
from measuring import option_parser, processor_seconds, report

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.generate import STOP
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.tasks import TASKS

TURN = 100  # photos of each side in turn
OURS, THEIRS = "qinsight score", "the authors' loop"


def main() -> None:
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    photos = [str(Path(path).absolute()) for path in find_images(options.photos, None, options.limit)]
    engine = load_engine(options.model, device="cpu", dtype="float32")
    decoding = Decoding(rating="expected", mode=options.mode)

    def ours(paths: list[str]) -> list[str]:
        items = [{"image": path} for path in paths]
        results = assess(TASKS["score"], items, engine, decoding, batch_size=options.batch_size)
        return [each.completions[0].text if each.completions else str(each.error) for each in results]

    with authors_loop.in_process(options.model, torch.get_num_threads()) as theirs:
        clock, busy, texts = _in_turns({OURS: ours, THEIRS: theirs}, photos)
    rows = [
        {
            "what": name,
            "images/s": len(photos) / clock[name],
            "processor ms/image": 1000 * busy[name] / len(photos),
            "times as fast": clock[THEIRS] / clock[name],
            "by processor time": busy[THEIRS] / busy[name],
        }
        for name in (OURS, THEIRS)
    ]
    same = sum(_answer(a) == _answer(b) for a, b in zip(texts[OURS], texts[THEIRS], strict=True))
    if options.mode == "reasoned":
        print(f"{same} of {len(photos)} answers are the same, letter by letter")
    report(
        "throughput",
        rows,
        model=options.model,
        mode=options.mode,
        pictures=len(photos),
        same_answers=same if options.mode == "reasoned" else None,
        threads=torch.get_num_threads(),
        to_reach=8,
    )


def _answer(text: str) -> str:
    """The part of a text after which qinsight stops."""
    before, stop, _ = text.partition(STOP)
    return before + stop


def _in_turns(
    works: dict[str, Callable[[list[str]], list[str]]], photos: list[str]
) -> tuple[dict[str, float], dict[str, float], dict[str, list[str]]]:
    """Seconds on the clock, processor seconds and texts of each side; one turn before is not measured."""
    clock, busy = dict.fromkeys(works, 0.0), dict.fromkeys(works, 0.0)
    texts: dict[str, list[str]] = {name: [] for name in works}
    for work in works.values():
        work(photos[:8])
    for start in range(0, len(photos), TURN):
        for name, work in works.items():
            began, before = time.perf_counter(), processor_seconds()
            texts[name] += work(photos[start : start + TURN])
            clock[name] += time.perf_counter() - began
            busy[name] += processor_seconds() - before
    return clock, busy, texts


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="+", help="files, folders or globs, as `qinsight score` takes them")
    parser.add_argument("--limit", type=int, default=200, help="only the first N photos")
    parser.add_argument("--model", default="tiny", help="any name that qinsight takes (default: tiny)")
    parser.add_argument("--mode", choices=["reasoned", "direct"], default="reasoned")
    parser.add_argument("--batch-size", type=int, help="(default: qinsight's own)")
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: its own choice)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
