"""A grid as a terminal table, Markdown, LaTeX, and CSV as printed and in long form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from qinsight_cli.core.bench.grid import BEST, SECOND, Cell, Grid, Line
from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.report.tables import WIDE, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

LEAST_METHOD, GAP = 12, 2  # terminal columns: the narrowest column of method names, and the gap between columns
MEASURED = "▸ "  # before the name of a method measured here
# The header of the long CSV. New columns go to the end, for readers that count columns.
LONG = (
    "table", "method", "measured", "column", "metric", "value", "unit", "low", "high", "count", "failed", "note",
    "category", "venue",
)  # fmt: skip
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_STYLES = {BEST: "bold red", SECOND: "underline blue", "": ""}


def name_of(line: Line) -> str:
    return f"{MEASURED if line.measured else ''}{line.method}"


def terminal(grid: Grid, intervals: bool = False, width: int = WIDE) -> RenderableType:
    """Rich tables for a terminal of `width` columns: the best figures in bold red, the second best underlined in blue.

    No figure is cut: columns that do not fit go into further tables. Footnotes come last.
    """
    from rich.console import Group
    from rich.text import Text

    notes, places = grid.footnotes()
    marks = grid.marks()
    tables = [_table(grid, columns, intervals, marks, places) for columns in _fitting(grid, intervals, width)]
    below = [f"{_raised(number)} {note}" for number, note in enumerate(notes, 1)] + grid.remarks
    return Group(
        Text(printable(grid.title), style="bold"), *tables, *(Text(printable(words), style="dim") for words in below)
    )


def _fitting(grid: Grid, intervals: bool, width: int) -> Iterator[list[str]]:
    """The columns in groups, each of which fits next to the methods. A group has at least one column."""
    places = grid.footnotes()[1]
    metrics = max([len("metric"), *(len(line.metric) for line in grid.lines)]) if _has_metrics(grid) else 0
    room = width - LEAST_METHOD - metrics - 2 * GAP - 2  # within the frame
    group: list[str] = []
    taken = 0
    for column in grid.columns:
        figures = (
            len(_words(line, column, intervals)) + len(_raised(places.get((number, column))))
            for number, line in enumerate(grid.lines)
        )
        needed = max([len(printable(column)), *figures]) + GAP
        if group and taken + needed > room:
            yield group
            group, taken = [], 0
        group.append(column)
        taken += needed
    yield group


def _has_metrics(grid: Grid) -> bool:
    return any(line.metric for line in grid.lines)


def _table(
    grid: Grid,
    columns: Sequence[str],
    intervals: bool,
    marks: Mapping[tuple[int, str], str],
    places: Mapping[tuple[int, str], int],
) -> Table:
    """A table with some columns of a grid and all its lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    metrics = _has_metrics(grid)
    table = Table(pad_edge=False, box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold", min_width=LEAST_METHOD)
    if metrics:
        table.add_column("metric", no_wrap=True)
    for column in columns:
        table.add_column(printable(column), justify="right", no_wrap=True)
    for number, line in enumerate(grid.lines):
        first = number == 0 or name_of(grid.lines[number - 1]) != name_of(line)
        last = number + 1 == len(grid.lines) or name_of(grid.lines[number + 1]) != name_of(line)
        label = Text(printable(name_of(line)) if first else "", style="cyan" if line.measured else "")
        if first and line.category and line.category != (grid.lines[number - 1].category if number else ""):
            table.add_row(Text(line.category, style="italic"))
        if first:
            label.append(_raised(places.get((number, ""))))
            label.append(f" {line.venue}" if line.venue else "", style="dim")
        shown = [
            Text(_words(line, column, intervals), style=_STYLES[marks.get((number, column), "")]).append(
                _raised(places.get((number, column))), style="not bold not underline"
            )
            for column in columns
        ]
        table.add_row(label, *([Text(line.metric)] if metrics else []), *shown, end_section=last and metrics)
    return table


def _words(line: Line, column: str, intervals: bool) -> str:
    cell = line.cells.get(column)
    return Cell().text() if cell is None else cell.text(intervals)


def _raised(number: int | None) -> str:
    return "" if number is None else str(number).translate(_SUPERSCRIPT)


def markdown(grid: Grid, intervals: bool = False) -> str:
    """A GitHub table: the best figures bold, the second best underlined."""
    wrap = {BEST: "**{}**".format, SECOND: "<u>{}</u>".format, "": "{}".format}
    rows = list(
        _rows(grid, intervals, lambda words, mark: wrap[mark](_escape(words, "|\\`*_<>")), "<sup>{}</sup>".format)
    )
    head = rows[0]
    lines = [f"**{_escape(grid.title, '|*_')}**", "", _piped(head), _piped(["---"] * len(head)), *map(_piped, rows[1:])]
    notes = [f"<sup>{number}</sup> {note}" for number, note in enumerate(grid.footnotes()[0], 1)] + grid.remarks
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]) + "\n"


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(grid: Grid, intervals: bool = False) -> str:
    """A booktabs table: the best figures bold, the second best underlined."""
    wrap = {BEST: "\\textbf{{{}}}".format, SECOND: "\\underline{{{}}}".format, "": "{}".format}
    rows = list(_rows(grid, intervals, lambda words, mark: wrap[mark](_tex(words)), "$^{{{}}}$".format))
    body = [f"    {' & '.join(row)} \\\\" for row in rows]
    left = len(rows[0]) - len(grid.columns)
    notes = [f"$^{{{number}}}$ {_tex(note)}" for number, note in enumerate(grid.footnotes()[0], 1)]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            f"  \\caption{{{_tex(grid.title)}}}",
            f"  \\begin{{tabular}}{{{'l' * left}{'r' * len(grid.columns)}}}",
            "    \\toprule",
            body[0],
            "    \\midrule",
            *body[1:],
            "    \\bottomrule",
            "  \\end{tabular}",
            *(f"  \\par\\footnotesize {note}" for note in [*notes, *map(_tex, grid.remarks)]),
            "\\end{table}",
            "",
        ]
    )


def _rows(
    grid: Grid, intervals: bool, mark: Callable[[str, str], str], note: Callable[[int], str]
) -> Iterator[list[str]]:
    """The header and lines as text. `mark` formats words as best, second or "", `note` the number of a footnote."""
    metrics = _has_metrics(grid)
    _, places = grid.footnotes()
    marks = grid.marks()
    facts = [name for name in ("category", "venue") if any(getattr(line, name) for line in grid.lines)]
    names = [*(name.capitalize() for name in facts), *(["Metric"] if metrics else [])]
    yield [mark(words, "") for words in ("Method", *names, *grid.columns)]
    for number, line in enumerate(grid.lines):
        cells = [mark(name_of(line), "") + _noted(places.get((number, "")), note)]
        cells += [mark(getattr(line, name), "") for name in facts]
        if metrics:
            cells.append(mark(line.metric, ""))
        for column in grid.columns:
            words = mark(_words(line, column, intervals), marks.get((number, column), ""))
            cells.append(words + _noted(places.get((number, column)), note))
        yield cells


def _noted(number: int | None, note: Callable[[int], str]) -> str:
    return "" if number is None else note(number)


def _escape(words: str, special: str) -> str:
    return "".join(f"\\{letter}" if letter in special else letter for letter in " ".join(words.split()))


_TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "–": "--",
    "ε": "$\\varepsilon$",
    "▸": "$\\triangleright$",
}


def _tex(words: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in " ".join(words.split()))


def printed_csv(grid: Grid) -> bytes:
    """One CSV line per method and metric, with the figures as printed. Missing figures are empty cells."""
    lines = [csv_line(["method", "metric", "measured", *grid.columns, "category", "venue"])]
    for line in grid.lines:
        cells = (line.cells.get(column) for column in grid.columns)
        figures = [Decimal(cell.text()) if cell is not None and cell.value is not None else None for cell in cells]
        lines.append(csv_line([line.method, line.metric, _yes(line), *figures, line.category, line.venue]))
    return b"".join(lines)


def long_csv(grid: Grid) -> bytes:
    """One CSV line per cell, with its interval, counts and note. Measured values have six decimals."""
    lines = [csv_line(LONG)]
    for line in grid.lines:
        for column, cell in line.cells.items():
            value = None if cell.value is None else _six(cell.value) if line.measured else Decimal(cell.text())
            bounds = [None if bound is None else _six(bound) for bound in (cell.low, cell.high)]
            counts = [cell.count, cell.failed if line.measured else None]
            place = [grid.table, line.method, _yes(line), column, line.metric]
            lines.append(csv_line([*place, value, cell.unit, *bounds, *counts, cell.note, line.category, line.venue]))
    return b"".join(lines)


def _yes(line: Line) -> str:
    return "yes" if line.measured else "no"


def _six(value: float) -> Decimal:
    return Decimal(f"{value:.6f}")
