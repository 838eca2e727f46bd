"""The figures of the paper's Tables 1-5 and B, read from published/.

One CSV row is one cell. It has a note where the paper contradicts itself.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qinsight_cli.core.bench.grid import Cell, Line

PUBLISHED = Path(__file__).with_name("published")


@dataclass(frozen=True)
class Figure:
    """One printed cell.

    value     in its unit; None for a dash
    digits    number of printed decimals
    unit      "correlation" in [-1, 1], "accuracy" in [0, 1], or "percent"
    note      what a reader should know about this cell, in one sentence, or ""
    """

    table: str
    row: str
    category: str
    venue: str
    column: str
    metric: str
    value: float | None
    digits: int
    unit: str
    note: str


def figures(table: str) -> list[Figure]:
    """The cells of a table, by its number, in printed order."""
    with (PUBLISHED / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return [_figure(row) for row in csv.DictReader(file)]


def _figure(row: dict[str, str]) -> Figure:
    text = row.pop("value")
    value = float(text) if text else None
    return Figure(value=value, digits=len(text.partition(".")[2]), **row)


@dataclass(frozen=True)
class Table:
    """One table.

    number      as in the paper
    alias       another name for the command line
    task        the task that it measures
    datasets    on which the paper measured
    by_dataset  whether each dataset has a column, also others of the task; else the table is about one dataset
    """

    number: str
    alias: str
    title: str
    task: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    by_dataset: bool = False

    @property
    def name(self) -> str:
        """Its name for the command line."""
        return f"table{self.number}"

    def published(self) -> list[Line]:
        """The printed lines, one for each method and metric."""
        rows = figures(self.number)
        return [
            _line([figure for figure in rows if figure.row == row and (metric in ("", figure.metric))], row, metric)
            for row in dict.fromkeys(figure.row for figure in rows)
            for metric in self.metrics
        ]


def _line(cells: Sequence[Figure], row: str, metric: str) -> Line:
    return Line(
        method=row,
        metric=metric,
        cells={
            figure.column: Cell(figure.value, figure.unit, note=figure.note, digits=figure.digits) for figure in cells
        },
        category=cells[0].category,
        venue=cells[0].venue,
    )
