"""Marks, footnotes, and a grid in every form in which it is written."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from rich.console import Console

from qinsight_cli.core.bench import render
from qinsight_cli.core.bench.grid import BEST, SECOND, Cell, Grid, Line
from qinsight_cli.core.bench.paper import TABLES, choose_tables
from qinsight_cli.core.errors import UsageError


def line(method: str, *values: float | None, metric: str = "PLCC", measured: bool = False, note: str = "") -> Line:
    cells = {name: Cell(value, note=note if name == "B" else "") for name, value in zip("AB", values, strict=False)}
    return Line(method, metric, cells, measured)


@pytest.fixture
def grid() -> Grid:
    lines = [
        line("one", 0.9, 0.5),
        line("two_2", 0.8, 0.5004, note="Printed 50 % & rounded."),
        line("three", 0.7, None),
        line("=mine", -0.1, 0.1, measured=True, note="Printed 50 % & rounded."),
    ]
    return Grid("1", "Table 1: A & B", ("A", "B"), lines, ["A remark."])


def test_best_and_second_are_those_of_the_printed_figures(grid: Grid) -> None:
    assert grid.marks() == {(0, "A"): BEST, (1, "A"): SECOND, (0, "B"): BEST, (1, "B"): BEST, (3, "B"): SECOND}


def test_two_lines_are_too_few_for_marks() -> None:
    assert Grid("2", "t", ("A",), [line("x", 0.1), line("y", 0.2)]).marks() == {}


def test_metrics_are_marked_apart() -> None:
    lines = [line(str(n), n / 10, metric=metric) for metric in ("PLCC", "SRCC") for n in range(3)]
    marks = Grid("1", "t", ("A",), lines).marks()
    assert marks == {(2, "A"): BEST, (1, "A"): SECOND, (5, "A"): BEST, (4, "A"): SECOND}


def test_equal_notes_are_one_footnote(grid: Grid) -> None:
    assert grid.footnotes() == (["Printed 50 % & rounded."], {(1, "B"): 1, (3, "B"): 1})


def test_the_papers_own_marks_on_table_1() -> None:
    # Bold and underlined in the paper, where its text can be read: KonIQ, SPAQ, KADID, LiveW and CSIQ by PLCC.
    (table,) = choose_tables(["table1"])
    lines = table.published()
    marks = Grid("1", "", table.columns, lines).marks()
    found = {(column, mark): lines[number].method for (number, column), mark in marks.items()
             if lines[number].metric == "PLCC"}  # fmt: skip
    assert [found[column, BEST] for column in ("KonIQ", "SPAQ", "KADID", "LiveW", "CSIQ")] == [
        *("DeQA", "Q-Insight", "Q-Insight", "Q-Insight", "Q-Insight")
    ]
    assert [found[column, SECOND] for column in ("KonIQ", "SPAQ", "KADID", "LiveW", "CSIQ")] == [
        *("Q-Align", "DeQA", "DeQA", "DeQA", "DeQA")
    ]


def shown(grid: Grid, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render.terminal(grid, width=width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_terminal_table(grid: Grid) -> None:
    words = shown(grid)
    assert "▸ =mine" in words
    assert "0.500¹" in words
    assert "¹ Printed 50 % & rounded." in words
    assert "A remark." in words


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_no_figure_of_a_table_is_cut(table: Any, width: int) -> None:
    grid = Grid("1", "title", (*table.columns, "yours"), table.published())
    words = shown(grid, width)
    assert "…" not in words
    assert max(map(len, words.splitlines())) <= width
    figures = [cell.text() for line in grid.lines for cell in line.cells.values() if cell.value is not None]
    assert sorted(re.findall(r"(?<!ε = )-?\d+\.\d{2,4}(?!\d)", words.split("\n¹ ")[0])) == sorted(figures)
    heads = [line for line in words.splitlines() if " method " in line]
    assert [
        column for head in heads for column in re.split(r"  +", head.strip())[(2 if grid.lines[0].metric else 1) :]
    ] == [*grid.columns]
    assert len(heads) == 1 or width < 100


def test_a_title_cannot_steer_the_terminal(grid: Grid) -> None:
    grid.title = "Table \x1b[31m"
    assert "\x1b[31m" not in shown(grid)


def test_markdown_is_one_table_with_marks(grid: Grid) -> None:
    words = render.markdown(grid)
    assert "| one | PLCC | **0.900** | **0.500** |" in words
    assert "| two\\_2 | PLCC | <u>0.800</u> | **0.500**<sup>1</sup> |" in words
    assert "| three | PLCC | 0.700 | – |" in words
    assert "<sup>1</sup> Printed 50 % & rounded." in words


def test_latex_escapes_and_marks(grid: Grid) -> None:
    words = render.latex(grid)
    assert "two\\_2 & PLCC & \\underline{0.800} & \\textbf{0.500}$^{1}$ \\\\" in words
    assert "\\caption{Table 1: A \\& B}" in words
    assert "$^{1}$ Printed 50 \\% \\& rounded." in words
    assert words.count("\\toprule") == words.count("\\bottomrule") == 1


def test_csv_as_printed_and_in_long_form(grid: Grid) -> None:
    printed = list(csv.DictReader(io.StringIO(render.printed_csv(grid).decode())))
    where = {"category": "", "method": "one", "venue": "", "metric": "PLCC", "measured": "no"}
    assert printed[0] == {**where, "A": "0.900", "B": "0.500"}
    assert printed[2]["B"] == ""
    # A spreadsheet would run the name; a negative figure stays a number.
    assert (printed[3]["method"], printed[3]["A"]) == ("'=mine", "-0.100")
    rows = list(csv.DictReader(io.StringIO(render.long_csv(grid).decode())))
    assert len(rows) == 8
    assert rows[-1]["value"] == "0.100000"
    assert rows[-1]["note"] == "Printed 50 % & rounded."
    assert rows[-1]["measured"] == "yes"


def test_intervals_are_shown_when_asked_for() -> None:
    cell = Cell(0.5, "percent", 0.4, 0.625)
    assert cell.text(intervals=True) == "0.50 [0.40, 0.62]"
    assert cell.text() == "0.50"


def test_tables_by_name_alias_and_number() -> None:
    assert [table.number for table in choose_tables(["srbench", "TABLE1", "b", "score"])] == ["1", "5", "B"]
    assert len(choose_tables(["all"])) == 6
    with pytest.raises(UsageError, match="did you mean table1"):
        choose_tables(["tabel1"])


@pytest.mark.parametrize("name", ["table1", "table5"])
def test_category_and_venue_of_the_paper_are_in_every_output(name: str) -> None:
    (table,) = choose_tables([name])
    lines = table.published()
    grid = Grid(table.number, "t", table.columns, lines)
    some = next(line for line in lines if line.category and line.venue)
    for content in (render.printed_csv(grid), render.long_csv(grid)):
        row = next(r for r in csv.DictReader(io.StringIO(content.decode())) if r["method"] == some.method)
        assert (row["category"], row["venue"]) == (some.category, some.venue)
    assert f"| {some.method} | {some.category} | {some.venue} |" in render.markdown(grid)
    assert f"{some.method} & {some.category} & {some.venue} &" in render.latex(grid)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render.terminal(grid))
    shown = console.export_text()
    assert f"{some.method} {some.venue}" in shown
    assert shown.count(f"{some.category} ") == 1


def test_columns_that_are_new_stand_at_the_end() -> None:
    """A script that counts columns, with `cut -f6` for the value, goes on to work."""
    assert render.LONG[:7] == ("table", "method", "measured", "column", "metric", "value", "unit")
    assert render.LONG[-3:] == ("note", "category", "venue")
