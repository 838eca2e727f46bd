"""Whether GRPO runs learned: python benchmarks/learning.py runs/grpo-1 runs/grpo-2 runs/grpo-3 --curves docs/images

Prints the held-out figures of each run before the first update and after the last, from its metrics.jsonl, and their
means over the runs. The last line is the same as JSON. --curves draws the mean curves of the runs into a folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from qinsight_cli.core.training.grpo.curves import draw_curves
from qinsight_cli.core.training.run_folder import read_lines


def main(
    runs: list[Path],
    curves: Annotated[Path | None, typer.Option(help="Draw rewards.png and kl.png into this folder.")] = None,
) -> None:
    lines = [read_lines(run / "metrics.jsonl") for run in runs]
    evaluations = [[line for line in of_run if "eval" in line] for of_run in lines]
    steps = {run.name: of_run[-1]["step"] for run, of_run in zip(runs, evaluations, strict=True)}
    before = [of_run[0]["eval"] for of_run in evaluations]
    after = [of_run[-1]["eval"] for of_run in evaluations]
    figures = [name for name in before[0] if name != "rows" and all(name in one for one in [*before, *after])]
    table = Table("held out", "before", *(f"{name} after {step}" for name, step in steps.items()), "mean", "change")
    for name in figures:
        start, end = fmean(one[name] for one in before), fmean(one[name] for one in after)
        cells = [f"{one[name]:.3f}" for one in after]
        table.add_row(name, f"{start:.3f}", *cells, f"{end:.3f}", f"{end - start:+.3f}")
    Console(width=120).print(table)
    if curves is not None:
        curves.mkdir(parents=True, exist_ok=True)
        draw_curves(mean_lines(lines), curves)
    print(json.dumps({"steps": steps, "before": before, "after": after}))


def mean_lines(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One line for each step: the mean of each figure over the runs that have it."""
    found: list[dict[str, Any]] = []
    for kind in (False, True):
        by_step: dict[int, list[dict[str, Any]]] = {}
        for line in (line for run in runs for line in run if ("eval" in line) is kind):
            by_step.setdefault(line["step"], []).append(line["eval"] if kind else line)
        for step, lines in sorted(by_step.items()):
            names = {name for line in lines for name, value in line.items() if isinstance(value, int | float)}
            means = {
                name: fmean(line[name] for line in lines if line.get(name) is not None) for name in names - {"step"}
            }
            found.append({"step": step, "eval": means} if kind else {"step": step, **means})
    return found


if __name__ == "__main__":
    typer.run(main)
