"""A table as printed: lines of cells, the best and second best of each column, footnotes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

BEST, SECOND = "best", "second"
DIGITS = {"correlation": 3, "accuracy": 4, "percent": 2}
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One figure.

    value      in `unit`; None for a dash
    low, high  bootstrap 95 % interval, if there is one
    note       a footnote
    count      number of pictures or pairs behind it; None for a published figure
    failed     how many of them had no answer
    """

    value: float | None = None
    unit: str = "correlation"
    low: float | None = None
    high: float | None = None
    note: str = ""
    count: int | None = None
    failed: int = 0
    digits: int | None = None

    def text(self, intervals: bool = False) -> str:
        """The figure with the digits of its unit, and with its interval if `intervals`; a dash if there is none."""
        if self.value is None:
            return DASH
        digits = DIGITS[self.unit] if self.digits is None else self.digits
        words = f"{self.value:.{digits}f}"
        if intervals and self.low is not None and self.high is not None:
            words += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return words


@dataclass(frozen=True)
class Line:
    """One printed line: a method under one metric ("" in Table 5, whose metrics are columns).

    `note` is a footnote of the whole method. `measured` lines were computed here.
    """

    method: str
    metric: str
    cells: Mapping[str, Cell]
    measured: bool = False
    category: str = ""
    venue: str = ""
    note: str = ""


@dataclass
class Grid:
    """A table. `remarks` are printed below it, after the footnotes."""

    table: str
    title: str
    columns: Sequence[str]
    lines: list[Line]
    remarks: list[str] = field(default_factory=list)

    def marks(self) -> dict[tuple[int, str], str]:
        """(line, column) -> best or second of its column and metric. Equal figures share a mark.

        Figures are compared as printed. A column with fewer than three figures has no marks.
        """
        found: dict[tuple[int, str], str] = {}
        for metric in dict.fromkeys(line.metric for line in self.lines):
            rows = [number for number, line in enumerate(self.lines) if line.metric == metric]
            for column in self.columns:
                values = {row: _printed(self.lines[row].cells.get(column)) for row in rows}
                there = {row: value for row, value in values.items() if value is not None}
                ranks = sorted(set(there.values()), reverse=True)[:2] if len(there) > 2 else []
                for row, value in there.items():
                    if value in ranks:
                        found[row, column] = (BEST, SECOND)[ranks.index(value)]
        return found

    def footnotes(self) -> tuple[list[str], dict[tuple[int, str], int]]:
        """The distinct notes, and (line, column) -> the number of its note, from 1; column "" is the method's note."""
        notes: list[str] = []
        places: dict[tuple[int, str], int] = {}
        for number, line in enumerate(self.lines):
            for column, note in _notes(line, self.columns):
                if note not in notes:
                    notes.append(note)
                places[number, column] = notes.index(note) + 1
        return notes, places


def _notes(line: Line, columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    if line.note:
        yield "", line.note
    for column in columns:
        cell = line.cells.get(column)
        if cell is not None and cell.note:
            yield column, cell.note


def _printed(cell: Cell | None) -> float | None:
    return None if cell is None or cell.value is None else float(cell.text())
