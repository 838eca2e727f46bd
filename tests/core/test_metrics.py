"""Metrics against scipy, and against cases worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qinsight_cli.core import metrics
from qinsight_cli.core.errors import QInsightError

values = st.lists(st.integers(-5, 5), min_size=3, max_size=30)


@given(values, st.randoms())
def test_correlations_agree_with_scipy_ties_included(first: list[int], random) -> None:
    second = [value + random.randint(-3, 3) for value in first]
    if len(set(first)) == 1 or len(set(second)) == 1:
        with pytest.raises(QInsightError, match="undefined"):
            metrics.plcc(first, second)
        return
    assert metrics.plcc(first, second) == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-9)
    assert metrics.srcc(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-9)


def test_srcc_with_a_tie_by_hand() -> None:
    # Ranks 1.5, 1.5, 3 against 1, 2, 3: covariance 1.5, variances 1.5 and 2.
    assert metrics.srcc([1, 1, 2], [10, 20, 30]) == pytest.approx(1.5 / math.sqrt(1.5 * 2))


@pytest.mark.parametrize(
    ("predicted", "truth", "says"),
    [
        ([1.0, 2.0], [1.0, 2.0], "at least 3"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "3 predictions for 2 labels"),
        ([1.0, math.nan, 3.0], [1.0, 2.0, 3.0], "predictions hold a value that is not a number"),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], "all labels are 2"),
    ],
)
def test_undefined_correlations_say_why(predicted: list[float], truth: list[float], says: str) -> None:
    with pytest.raises(QInsightError, match=says):
        metrics.plcc(predicted, truth)


def test_accuracy_counts_the_unread_as_wrong() -> None:
    assert metrics.accuracy(["noise", None, "blur", "null"], ["noise", "blur", "blur", "blur"]) == 0.5


def test_macro_average_is_that_of_table_2() -> None:
    # Table 2 gives Q-Insight's class accuracies and their mean; counts follow from them (226 noise, 205 blur, ...).
    hits = {"noise": (226, 226), "blur": (200, 205), "compression": (222, 222), "darken": (204, 226), "null": (92, 121)}
    groups, predicted = [], []
    for name, (right, total) in hits.items():
        groups += [name] * total
        predicted += [name] * right + [None] * (total - right)
    by_class = metrics.accuracy_by(groups, predicted, groups)
    assert {name: round(value, 4) for name, value in by_class.items()} == {
        "noise": 1.0,
        "blur": 0.9756,
        "compression": 1.0,
        "darken": 0.9027,
        "null": 0.7603,
    }
    assert round(sum(by_class.values()) / 5, 4) == 0.9277


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    sample = np.random.default_rng(1).normal(0.0, 1.0, 400)
    low, high = metrics.interval(lambda rows: float(sample[rows].mean()), 400)
    half = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half, abs=0.02)
    assert high == pytest.approx(sample.mean() + half, abs=0.02)
