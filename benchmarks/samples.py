"""Several answers that share one prefill, compared with one answer and with separate prompts.

    python benchmarks/samples.py [--model tiny] [--samples 8] [--tokens 16] [--repeats 3]

The token limit is below the length of nearly every answer, so that all sides write equally much. The sides take turns;
each figure is the least of the repeats. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from generation import requests
from measuring import compared, option_parser, report, taking_turns

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.local import load_engine


def main() -> None:
    options = _options()
    engine = load_engine(options.model, device=options.device)
    one = Decoding(max_new_tokens=options.tokens, temperature=0.3)
    (request,) = requests(1)
    copies = [replace(request, seed=seed) for seed in range(options.samples)]
    found = taking_turns(
        {
            "one": _seconds(engine, [request], one),
            "shared": _seconds(engine, [request], replace(one, samples=options.samples)),
            "separate": _seconds(engine, copies, one),
        },
        options.repeats,
    )
    several = f"{options.samples} samples"
    rows = [
        compared(several, "1 sample", found["shared"], found["one"], "<= 2.5"),
        compared(f"{options.samples} separate prompts", several, found["separate"], found["shared"], ">= 2.5"),
    ]
    report("samples", rows, model=options.model)


def _seconds(engine: Any, batch: list[Any], decoding: Decoding) -> Callable[[], float]:
    def work() -> float:
        started = time.perf_counter()
        engine.generate(engine.prepare(batch), decoding)
        return time.perf_counter() - started

    return work


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
