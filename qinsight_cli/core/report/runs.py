"""A table of training runs for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qinsight_cli.core.report.tables import printable
from qinsight_cli.core.training.runs import RunSummary


def runs_table(runs: Sequence[RunSummary]) -> Any:
    """One row for each run."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "algorithm", "model", "data", "steps", "reward", "state", "changed", box=box.SIMPLE_HEAD)
    for run in runs:
        reward = "" if run.reward is None else f"{run.reward:.3f}"
        cells = (str(run.folder), run.algorithm, run.model, run.data, f"{run.steps:,}", reward, run.state)
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(f"{run.changed:%Y-%m-%d %H:%M}"))
    return table
