"""Several answers about one picture, which share its prefill, beside one answer and beside separate prompts.

    python benchmarks/samples.py [--model tiny] [--samples 8] [--tokens 16] [--repeats 3]

The token limit is lower than the length of nearly any answer, so that all sides write as much. Prints a table and one
JSON line; each figure is the least of the repeats, all sides taking turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from generation import requests
from measuring import report, taking_turns

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.local import load_engine


def main() -> None:
    options = _options()
    engine = load_engine(options.model, device=options.device)
    one = Decoding(max_new_tokens=options.tokens, temperature=0.3)
    several = replace(one, samples=options.samples)
    (request,) = requests(1)
    copies = [replace(request, seed=seed) for seed in range(options.samples)]
    found = taking_turns(
        {
            "one": _seconds(engine, [request], one),
            "shared": _seconds(engine, [request], several),
            "separate": _seconds(engine, copies, one),
        },
        options.repeats,
    )
    rows = [
        _row(f"{options.samples} samples", "1 sample", found["shared"], found["one"], "<= 2.5"),
        _row(f"{options.samples} separate prompts", f"{options.samples} samples", *_pair(found), ">= 2.5"),
    ]
    report("samples", ["what", "against", "seconds", "other", "ratio", "to reach"], rows, model=options.model)


def _pair(found: dict[str, float]) -> tuple[float, float]:
    return found["separate"], found["shared"]


def _row(what: str, against: str, seconds: float, other: float, reach: str) -> dict[str, Any]:
    ratio = seconds / other
    return {"what": what, "against": against, "seconds": seconds, "other": other, "ratio": ratio, "to reach": reach}


def _seconds(engine: Any, batch: list[Any], decoding: Decoding) -> Callable[[], float]:
    def work() -> float:
        started = time.perf_counter()
        engine.generate(engine.prepare(batch), decoding)
        return time.perf_counter() - started

    return work


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
