"""Speed and agreement of direct answers compared with reasoned ones: python benchmarks/modes.py PHOTOS

Runs score, degrade and compare (each photo with the next) in both modes, in turns of a few batches, so that a busy
machine slows both. Prints pictures or pairs a second, their ratio, and the agreement of the answers: PLCC, SRCC and
mean difference of ratings, the share of equal classes, of equal classes and severities, and of equal winners. The last
line is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from measuring import option_parser

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.metrics import plcc, srcc
from qinsight_cli.core.tasks import TASKS, ParseFailure

MODES = {"reasoned": Decoding(rating="expected"), "direct": Decoding(rating="expected", mode="direct")}
BATCHES = 4  # of each mode in turn


def main() -> None:
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    engine = load_engine(options.model, device=options.device)
    photos = [{"image": path} for path in find_images(options.photos, None, options.limit)]
    pairs = [{"image_a": a["image"], "image_b": b["image"]} for a, b in pairwise(photos)]
    found = {}
    for name, items in (("score", photos), ("degradation", photos), ("comparison", pairs)):
        if items:
            found[name] = _compare(engine, name, items, options.batch_size)
            print(name, "  ".join(f"{key} {value:.3f}" for key, value in found[name].items() if value is not None))
    settings = {"model": options.model, "device": options.device, "threads": torch.get_num_threads()}
    print(json.dumps({"benchmark": "modes", **settings, "load_average": os.getloadavg()[0], **found}))


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="+", help="files, folders or globs, as `qinsight score` takes them")
    parser.add_argument("--model", default="tiny", help="any name that qinsight takes (default: tiny)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, help="only the first N photos")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: its own choice)")
    return parser.parse_args()


def _compare(
    engine: LocalEngine, name: str, items: Sequence[dict[str, str]], batch_size: int
) -> dict[str, float | None]:
    """Speed and agreement on one task."""
    task, step = TASKS[name], batch_size * BATCHES
    seconds = dict.fromkeys(MODES, 0.0)
    answers: dict[str, list[Any]] = {mode: [] for mode in MODES}
    for decoding in MODES.values():  # once unmeasured
        list(assess(task, items[:batch_size], engine, decoding, batch_size=batch_size))
    for start in range(0, len(items), step):
        for mode, decoding in MODES.items():
            began = time.perf_counter()
            for result in assess(task, items[start : start + step], engine, decoding, batch_size=batch_size):
                read = result.answers and not isinstance(result.answers[0], ParseFailure)
                answers[mode].append(task.fields(result.answers[0]) if read else None)
            seconds[mode] += time.perf_counter() - began
    both = [(a, b) for a, b in zip(*answers.values(), strict=True) if a and b]
    speed: dict[str, float | None] = {f"{mode}_per_s": len(items) / seconds[mode] for mode in MODES}
    speed["ratio"] = seconds["reasoned"] / seconds["direct"]
    unread = {f"{mode}_unread": float(answers[mode].count(None)) for mode in MODES}
    return {**speed, **unread, **(_agreement(both) if both else {})}


def _agreement(both: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float | None]:
    """The agreement of pairs of (reasoned, direct) fields."""
    if "rating" not in both[0][0]:
        first = next(iter(both[0][0]))
        shares = {first: sum(a[first] == b[first] for a, b in both), "whole_answer": sum(a == b for a, b in both)}
        return {f"same_{name}": count / len(both) for name, count in shares.items()}
    ratings = [a["rating"] for a, _ in both], [b["rating"] for _, b in both]
    difference = sum(abs(a - b) for a, b in zip(*ratings, strict=True)) / len(both)
    return {"plcc": _or_none(plcc, ratings), "srcc": _or_none(srcc, ratings), "mean_difference": difference}


def _or_none(statistic: Any, ratings: tuple[list[float], list[float]]) -> float | None:
    """The statistic, or None if it is undefined: too few photos, or equal ratings."""
    try:
        return statistic(*ratings)
    except QInsightError:
        return None


if __name__ == "__main__":
    main()
