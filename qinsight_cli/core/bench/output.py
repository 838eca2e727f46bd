"""The folder of a bench: tables as CSV, Markdown and LaTeX, plots, every answer, and bench.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qinsight_cli import __version__
from qinsight_cli.core.bench import render
from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.grid import Grid
from qinsight_cli.core.bench.protocols import protocol_of, score
from qinsight_cli.core.bench.run import Bench
from qinsight_cli.core.bench.systems.base import RowAnswer, System, file_name
from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.extras import installed_version
from qinsight_cli.core.files import claim_folder, held_folder, write_bytes
from qinsight_cli.core.tasks import TASKS, Task

RECORD = "bench.json"
_VERSIONS = ("numpy", "scipy", "pillow", "torch", "transformers", "scikit-image", "matplotlib")


def claim(folder: Path) -> None:
    """Take a folder for a bench: a new one, an empty one, or that of an earlier bench. Raises QInsightError
    otherwise."""
    claim_folder(folder, "bench", lambda: any((folder / name).exists() for name in (RECORD, "journals")))


def write(bench: Bench, systems: Sequence[System], folder: Path, settings: Mapping[str, Any], intervals: bool) -> None:
    """Write all files, each atomically. Raises QInsightError on a disk error, or if another process writes there."""
    with held_folder(folder):
        for table, grid in zip(bench.tables, bench.grids, strict=True):
            write_bytes(folder / f"{table.name}.csv", render.printed_csv(grid))
            write_bytes(folder / f"{table.name}-long.csv", render.long_csv(grid))
            write_bytes(folder / f"{table.name}.md", render.markdown(grid, intervals).encode())
            write_bytes(folder / f"{table.name}.tex", render.latex(grid, intervals).encode())
        _write_answers(bench, folder)
        _draw_plots(bench, folder)
        tables = {**_recorded(folder), **records(bench, systems, settings)}
        write_bytes(folder / RECORD, json.dumps({"tables": tables}, indent=2, ensure_ascii=False).encode() + b"\n")


def records(bench: Bench, systems: Sequence[System], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Table -> its figures, with the models, settings, data and versions behind them."""
    shared = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "systems": {system.label: dict(system.facts()) for system in systems},
        "versions": {
            "qinsight": __version__,
            "python": platform.python_version(),
            **{name: installed_version(name) for name in _VERSIONS},
        },
    }
    return {
        table.name: {
            **shared,
            "datasets": [one.facts() for one in bench.datasets[table.number]],
            "figures": _figures(grid),
        }
        for table, grid in zip(bench.tables, bench.grids, strict=True)
    }


def _recorded(folder: Path) -> dict[str, Any]:
    """The tables that earlier benches in the folder recorded."""
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8"))["tables"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _figures(grid: Grid) -> list[dict[str, Any]]:
    """The measured cells of a table."""
    return [
        {
            "method": line.method,
            "metric": line.metric or column,
            "column": column,
            **{name: value for name, value in vars(cell).items() if name != "digits" and value not in (None, "")},
        }
        for line in grid.lines
        if line.measured
        for column, cell in line.cells.items()
    ]


def _write_answers(bench: Bench, folder: Path) -> None:
    """Write the answers of each system as CSV files that --predictions reads."""
    for (label, key, task), answers in bench.answers.items():
        lines = _answer_lines(TASKS[task], bench.unique_datasets[key, task], answers)
        path = folder / "predictions" / f"{file_name(label)}-{file_name(key)}-{task}.csv"
        write_bytes(path, b"".join(lines))


def _answer_lines(task: Task, dataset: Dataset, answers: Sequence[RowAnswer]) -> Iterator[bytes]:
    yield csv_line([*task.image_columns, *task.columns, "error"])
    for sample, answer in zip(dataset.samples, answers, strict=True):
        paths = [str(sample.images[role]) for role in task.image_columns.values()]
        fields = task.written(answer.fields)
        yield csv_line([*paths, *(fields.get(name) for name in task.columns), answer.error])


def _draw_plots(bench: Bench, folder: Path) -> None:
    labels = list(dict.fromkeys(label for label, _, _ in bench.answers))
    for table, grid in zip(bench.tables, bench.grids, strict=True):
        if table.number == "1":
            score.radar(grid, folder)
        for label in labels:
            protocol_of(table.task).plots(table, label, bench.answered(label, table), bench, folder)
