"""The figures of the paper's Tables 1-5 and B, one CSV row a cell; a note where the paper disagrees with itself."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
TABLES = ("1", "2", "3", "4", "5", "B")


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
    """The cells of one of `TABLES`, in the order of the page."""
    with (FOLDER / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return [_figure(row) for row in csv.DictReader(file)]


def _figure(row: dict[str, str]) -> Figure:
    text = row.pop("value")
    value = float(text) if text else None
    return Figure(value=value, digits=len(text.partition(".")[2]), **row)
