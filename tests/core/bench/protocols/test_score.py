"""PLCC and SRCC cells: failed pictures shown, undefined figures said, intervals, the average of seven."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qinsight_cli.core.bench.grid import Cell
from qinsight_cli.core.bench.protocols import score
from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.data.manifest import Sample


def rows(ratings: list[float]) -> list[Sample]:
    return [Sample(str(i), "score", "test", "x", {"image": Path("x")}, {"rating": r}) for i, r in enumerate(ratings)]


def found(predicted: list[float | None], truth: list[float]) -> score.Scores:
    said = [RowAnswer(error="no") if value is None else RowAnswer({"rating": value}) for value in predicted]
    return score.pair_up(rows(truth), said)


def test_figures_agree_with_scipy_and_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 5, 80)
    predicted = truth + rng.normal(0, 0.8, 80)
    cells = score.cells(found(predicted.tolist(), truth.tolist()), fitted=False, draws=300)
    assert cells["PLCC"].value == pytest.approx(stats.pearsonr(predicted, truth).statistic)
    assert cells["SRCC"].value == pytest.approx(stats.spearmanr(predicted, truth).statistic)
    for cell in cells.values():
        assert cell.count == 80
        assert cell.value is not None
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low < cell.value < cell.high


def test_the_fit_straightens_a_curved_predictor_and_leaves_ranks_alone() -> None:
    truth = np.linspace(1.2, 4.8, 60)
    predicted = 3 + np.log((truth - 1) / (5 - truth))  # the inverse of a logistic curve
    raw = score.cells(found(predicted.tolist(), truth.tolist()), fitted=False, draws=0)
    fitted = score.cells(found(predicted.tolist(), truth.tolist()), fitted=True, draws=0)
    assert fitted["PLCC"].value == pytest.approx(1.0, abs=1e-6)
    assert raw["PLCC"].value is not None
    assert raw["PLCC"].value < 0.999
    assert raw["SRCC"].value == fitted["SRCC"].value == pytest.approx(1.0)


def test_failed_pictures_are_counted_and_not_in_the_figure() -> None:
    cells = score.cells(found([1.0, None, 3.0, math.inf, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]), fitted=False, draws=0)
    assert cells["PLCC"].value == pytest.approx(1.0)
    assert (cells["PLCC"].count, cells["PLCC"].failed) == (3, 2)
    assert cells["PLCC"].note == "2 of 5 pictures have no rating and are not in the figure."


@pytest.mark.parametrize(
    ("predicted", "truth", "words"),
    [
        ([3.0, 3.0, 3.0], [1.0, 2.0, 3.0], "all predictions are 3: the correlation is undefined"),
        ([1.0, 2.0], [1.0, 2.0], "needs at least 3 pictures, not 2"),
        ([None, None], [1.0, 2.0], "needs at least 3 pictures, not 0 (2 of 2 pictures have no rating"),
    ],
)
def test_an_undefined_figure_says_why(predicted: list[float | None], truth: list[float], words: str) -> None:
    for cell in score.cells(found(predicted, truth), fitted=False, draws=50).values():
        assert cell.value is None
        assert cell.text() == "–"
        assert words in cell.note


def test_a_fit_that_cannot_be_made_is_said_and_srcc_stays() -> None:
    cells = score.cells(found([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), fitted=True, draws=0)
    assert cells["PLCC"].value is None
    assert "at least 5 pictures, not 3" in cells["PLCC"].note
    assert cells["SRCC"].value == pytest.approx(1.0)


def test_the_average_needs_all_seven_datasets() -> None:
    seven = {
        column: Cell(value) for column, value in zip(score.DATASETS, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), strict=True)
    }
    mean = score.average({**seven, "BIQ": Cell(0.0)})
    assert mean is not None
    assert mean.value == pytest.approx(0.4)
    assert score.average({**seven, "KonIQ": Cell(None)}) is None
