"""The published figures: every cell there, and every average held against its row."""

from __future__ import annotations

import pytest

from qinsight_cli.core.bench.figures import Figure, figures
from qinsight_cli.core.bench.paper import TABLES
from qinsight_cli.core.bench.protocols import degradation, score
from qinsight_cli.core.bench.protocols.degradation import CLASS_COLUMNS
from qinsight_cli.core.bench.protocols.score import DATASETS

NUMBERS = [table.number for table in TABLES]
CELLS = {"1": 11 * 2 * 8, "2": 2 * 2 * 6, "3": 2 * 2 * 8, "4": 2 * 2 * 6, "5": 7 * 5, "B": 6 * 2 * 7}


def by_row(table: str) -> dict[tuple[str, str], dict[str, Figure]]:
    found: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures(table):
        found.setdefault((figure.row, figure.metric), {})[figure.column] = figure
    return found


@pytest.mark.parametrize("table", NUMBERS)
def test_every_cell_is_there_once(table: str) -> None:
    cells = figures(table)
    assert len(cells) == CELLS[table]
    assert len({(cell.row, cell.metric, cell.column) for cell in cells}) == len(cells)
    assert {cell.table for cell in cells} == {table}


@pytest.mark.parametrize("table", NUMBERS)
def test_figures_are_in_range_and_printed_with_equal_digits(table: str) -> None:
    limits = {"correlation": 1.0, "accuracy": 1.0, "percent": 100.0}
    for cell in figures(table):
        assert cell.value is None or 0.0 <= cell.value <= limits[cell.unit]
    digits = {(cell.unit, cell.digits) for cell in figures(table) if cell.value is not None}
    assert len(digits) == len({unit for unit, _ in digits})


def test_dashes_stand_where_the_paper_prints_them() -> None:
    dashes = [
        (cell.table, cell.row, cell.column, cell.metric) for t in NUMBERS for cell in figures(t) if cell.value is None
    ]
    assert [d for d in dashes if d[0] in "24"] == [
        ("2", "AgenticIR", "Null", "Lev. Acc."),
        ("2", "Q-Insight", "Null", "Lev. Acc."),
        ("4", "Q-Insight (Degradation-Only)", "Null", "Lev. Acc."),
        ("4", "Q-Insight (Joint-Training)", "Null", "Lev. Acc."),
    ]
    assert [d[1:3] for d in dashes if d[0] == "5"] == [
        (row, column) for row in ("PSNR", "SSIM", "LPIPS", "A-FINE") for column in ("PLCC", "SRCC")
    ]
    assert len(dashes) == 12


# (table, row, metric) -> the printed average and the mean of its row, where the two cannot both be right: each cell and
# the average are rounded by at most half a unit of the last place, so they may differ by one unit and no more.
WRONG_AVERAGES = {
    ("1", "Q-Align", "PLCC"): (0.705, 0.743),
    ("4", "Q-Insight (Degradation-Only)", "Deg. Acc."): (0.8960, 0.8665),
}


def test_averages_follow_from_their_rows_but_for_those_that_carry_a_note() -> None:
    wrong = {}
    for table in ("1", "2", "3", "4"):
        names = tuple(DATASETS) if table in "13" else tuple(CLASS_COLUMNS.values())
        for (row, metric), cells in by_row(table).items():
            printed = cells[score.AVERAGE if table in "13" else degradation.AVERAGE]
            values = [value for name in names if (value := cells[name].value) is not None]
            mean = sum(values) / len(values)
            assert printed.value is not None
            if abs(mean - printed.value) > 10.0**-printed.digits + 1e-9:
                wrong[table, row, metric] = (printed.value, round(mean, printed.digits))
                assert f"{mean:.{printed.digits}f}" in printed.note
            else:
                assert printed.note == ""
    assert wrong == WRONG_AVERAGES


def test_the_same_model_has_the_same_figures_in_every_table() -> None:
    def values(table: str, row: str) -> list[float | None]:
        columns = tuple(DATASETS) if table in "13B" else tuple(CLASS_COLUMNS.values())
        return [cell.value for cell in figures(table) if cell.row == row and cell.column in columns]

    assert values("1", "Q-Insight") == values("3", "Q-Insight (Joint-Training)") == values("B", "ε = 0.35")
    assert values("2", "Q-Insight") == values("4", "Q-Insight (Joint-Training)")


def test_accuracies_of_table_5_are_shares_of_its_pairs_but_for_one() -> None:
    # 300, 3,600 and 5,500 pairs; the score-based rows are printed with one decimal and a zero.
    pairs = {"Reg-Acc": 300, "Gen-Acc": 3600, "Overall-Acc": 5500}
    impossible = []
    for cell in figures("5"):
        if cell.column not in pairs or cell.value is None:
            continue
        count = pairs[cell.column]
        near = range(int(cell.value * count / 100) - 1, int(cell.value * count / 100) + 3)
        digits = {round(100 * hit / count, places) for hit in near for places in (1, 2)}
        if cell.value not in digits:
            impossible.append((cell.row, cell.column, cell.value))
            assert "No number of the 300 pairs" in cell.note
    assert impossible == [("PSNR", "Reg-Acc", 80.07)]


def test_overall_accuracies_of_table_5_leave_a_possible_share_for_the_pairs_across() -> None:
    # Overall = Reg (300) + Gen (3,600) + pairs of one regression and one generation method (1,600).
    across = {}
    for (row, metric), cells in by_row("5").items():
        if metric == "accuracy":
            reg, gen, all_pairs = (cells[column].value or 0.0 for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc"))
            across[row] = (5500 * all_pairs - 300 * reg - 3600 * gen) / 1600
    assert all(0 <= share <= 100 for share in across.values())
    below = [row for (row, m), c in by_row("5").items() if m == "accuracy" and c["Overall-Acc"].note]
    assert below == ["PSNR", "SSIM"]
    assert round(across["PSNR"], 1) == 10.4


def test_notes_are_where_the_paper_disagrees_with_itself_and_nowhere_else() -> None:
    noted = [(cell.table, cell.row, cell.column, cell.metric) for t in NUMBERS for cell in figures(t) if cell.note]
    assert noted == [
        ("1", "Q-Align", "AVG.", "PLCC"),
        ("4", "Q-Insight (Degradation-Only)", "Average", "Deg. Acc."),
        ("5", "PSNR", "Reg-Acc", "accuracy"),
        ("5", "PSNR", "Overall-Acc", "accuracy"),
        ("5", "SSIM", "Overall-Acc", "accuracy"),
    ]
