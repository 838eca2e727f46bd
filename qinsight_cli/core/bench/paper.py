"""The paper's tables: what each asks (task, columns, metrics), and the figures that it prints.

published/ holds the figures of Tables 1-5 and B, one CSV row a cell; a note where the paper disagrees with itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from qinsight_cli.core.bench.grid import Cell, Line
from qinsight_cli.core.errors import UsageError

PUBLISHED = Path(__file__).with_name("published")

# Column of Tables 1, 3 and B -> the name of its dataset for `qinsight prepare`.
DATASETS = {
    "KonIQ": "koniq",
    "SPAQ": "spaq",
    "KADID": "kadid",
    "PIPAL": "pipal",
    "LiveW": "livew",
    "AGIQA": "agiqa",
    "CSIQ": "csiq",
}
# Class -> its column in Tables 2 and 4, which say JPEG for compression.
CLASS_COLUMNS = {"noise": "Noise", "blur": "Blur", "compression": "JPEG", "darken": "Darken", "null": "Null"}
AVERAGE = {"score": "AVG.", "degradation": "Average"}


@dataclass(frozen=True)
class Figure:
    """One printed cell.

    value     as a number in its unit; None where the paper prints a dash
    digits    decimals it is printed with
    unit      "correlation" in [-1, 1], "accuracy" in [0, 1], or "percent"
    note      what a reader should know of this cell, one sentence, or ""
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
    """The cells of a table, by its number, in the order of the page."""
    with (PUBLISHED / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return [_figure(row) for row in csv.DictReader(file)]


def _figure(row: dict[str, str]) -> Figure:
    text = row.pop("value")
    value = float(text) if text else None
    return Figure(value=value, digits=len(text.partition(".")[2]), **row)


@dataclass(frozen=True)
class Table:
    """number as in the paper; name and alias for the command line; task of its rows; datasets the paper measured on."""

    number: str
    name: str
    alias: str
    title: str
    task: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: tuple[str, ...]

    def published(self) -> list[Line]:
        """The lines as printed in the paper, one for each method and metric."""
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


_SCORE = dict(task="score", datasets=tuple(DATASETS.values()), metrics=("PLCC", "SRCC"))
_DEGRADATION = dict(
    task="degradation",
    datasets=("kadis",),
    metrics=("Deg. Acc.", "Lev. Acc."),
    columns=(*CLASS_COLUMNS.values(), AVERAGE["degradation"]),
)
TABLES = (
    Table("1", "table1", "score", "PLCC / SRCC on score regression", columns=(*DATASETS, "AVG."), **_SCORE),  # type: ignore[arg-type]
    Table("2", "table2", "degradation", "Accuracy of distortion class and level", **_DEGRADATION),  # type: ignore[arg-type]
    Table(
        "3", "table3", "ablation-score", "Score regression, joint against single-task training",
        columns=(*DATASETS, "AVG."), **_SCORE,  # type: ignore[arg-type]
    ),
    Table(
        "4", "table4", "ablation-degradation", "Degradation perception, joint against single-task training",
        **_DEGRADATION,  # type: ignore[arg-type]
    ),
    Table(
        "5", "table5", "srbench", "Reference-based comparison on SRIQA-Bench",
        task="comparison", datasets=("srbench",), metrics=("",),
        columns=("Reg-Acc", "Gen-Acc", "Overall-Acc", "PLCC", "SRCC"),
    ),
    Table("B", "tableB", "epsilon", "The threshold ε of the score reward", columns=tuple(DATASETS), **_SCORE),  # type: ignore[arg-type]
)  # fmt: skip


def choose_tables(names: Iterable[str]) -> list[Table]:
    """Tables by name, alias or number, in the paper's order; `all` is all. Raises UsageError for an unknown name."""
    known = {key.lower(): table for table in TABLES for key in (table.name, table.alias, table.number)}
    wanted: set[str] = set()
    for name in names:
        if name.lower() == "all":
            wanted |= {table.number for table in TABLES}
        elif name.lower() in known:
            wanted.add(known[name.lower()].number)
        else:
            near = get_close_matches(name.lower(), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            tables = ", ".join(f"{table.name} ({table.alias})" for table in TABLES)
            raise UsageError(f"no table {name!r}; {hint}tables are {tables}, and all")
    return [table for table in TABLES if table.number in wanted]
