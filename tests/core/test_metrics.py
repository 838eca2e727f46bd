"""Metrics against scipy, and against cases worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

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


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-290, 1e290])
def test_a_tie_up_to_rounding_is_a_tie(scale: float) -> None:
    noisy, plain = [0.3, 0.1 + 0.2, 0.5, 0.7, 1.1 * 3], [0.3, 0.3, 0.5, 0.7, 3.3]
    assert noisy != plain
    truth = [2.0, 1.0, 3.0, 3.0, 4.0]
    expected = stats.spearmanr(plain, truth).statistic * np.sign(scale)
    assert metrics.srcc([scale * value for value in noisy], truth) == pytest.approx(expected, abs=1e-12)
    assert metrics.srcc(truth, [scale * value for value in noisy]) == pytest.approx(expected, abs=1e-12)


def test_values_of_very_different_sizes_are_no_ties() -> None:
    values, truth = [1e300, 1.0, 2.0, 3.0, -1e-300, 0.0], [5.0, 1.0, 3.0, 2.0, 0.0, 1.0]
    assert metrics.srcc(values, truth) == pytest.approx(stats.spearmanr(values, truth).statistic, abs=1e-12)


def test_a_number_beyond_all_floats_is_said() -> None:
    with pytest.raises(QInsightError, match="the labels hold a value that is not a number"):
        metrics.plcc([1.0, 2.0, 3.0], [1.0, 10**400, 3.0])


def test_macro_average_is_that_of_table_2() -> None:
    # Table 2 gives Q-Insight's class accuracies and their mean; counts follow from them (226 noise, 205 blur, ...).
    hits = {"noise": (226, 226), "blur": (200, 205), "compression": (222, 222), "darken": (204, 226), "null": (92, 121)}
    groups = {name: [True] * right + [False] * (total - right) for name, (right, total) in hits.items()}
    assert round(metrics.balanced_accuracy(groups), 4) == 0.9277
    assert round(metrics.balanced_accuracy({"blur": groups["blur"]}), 4) == 0.9756
    for empty in ({}, {"noise": [True], "blur": []}):
        with pytest.raises(QInsightError, match="at least one answer of each class"):
            metrics.balanced_accuracy(empty)


SCALES = [1e-300, 1e-160, 1e-12, 1e-3, 1.0, 1e6, 1e160, 1e300]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("other", [1e-200, 1.0, 1e200])
def test_a_metric_is_the_same_at_any_scale(scale: float, other: float) -> None:
    rng = np.random.default_rng(8)
    truth = rng.uniform(1, 5, 40)
    predicted = truth + rng.normal(0, 0.5, 40)
    for metric in (metrics.plcc, metrics.srcc, metrics.plcc_logistic):
        expected = metric(predicted.tolist(), truth.tolist())
        assert metric((scale * predicted).tolist(), (other * truth).tolist()) == pytest.approx(expected, abs=1e-9)


def test_a_metric_is_the_same_far_from_zero() -> None:
    rng = np.random.default_rng(9)
    truth, noise = rng.uniform(1, 5, 40), rng.normal(0, 0.3, 40)
    expected = stats.pearsonr(truth + noise, truth).statistic
    assert metrics.plcc((truth + noise + 1e6).tolist(), truth.tolist()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_a_predictor_that_is_constant_up_to_rounding_has_no_correlation(scale: float) -> None:
    constant = [scale * value for value in (0.1 + 0.2, 0.3, 0.1 * 3, 0.3, 0.6 / 2)]
    assert len(set(constant)) > 1
    truth = [1.0, 2.0, 3.0, 4.0, 5.0]
    for metric in (metrics.plcc, metrics.srcc, metrics.plcc_logistic):
        for arguments in ((constant, truth), (truth, constant)):
            with pytest.raises(QInsightError, match="the correlation is undefined"):
                metric(*arguments)
    with pytest.raises(QInsightError, match="all predictions are 0: the correlation is undefined"):
        metrics.plcc([0.0] * 5, truth)


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    sample = np.random.default_rng(1).normal(0.0, 1.0, 400)
    low, high = metrics.interval(lambda rows: float(sample[rows].mean()), 400)
    half = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half, abs=0.02)
    assert high == pytest.approx(sample.mean() + half, abs=0.02)


def test_the_logistic_fit_finds_the_curve_that_made_the_data() -> None:
    x = np.linspace(-3, 3, 60)
    truth = 1.2 + (4.6 - 1.2) / (1 + np.exp(-(x - 0.4) / 0.7))
    curve = metrics.fit_logistic(x.tolist(), truth.tolist())
    assert (curve.upper, curve.lower, curve.middle, abs(curve.width)) == pytest.approx((4.6, 1.2, 0.4, 0.7), abs=1e-4)
    assert metrics.plcc_logistic(x.tolist(), truth.tolist()) == pytest.approx(1.0)
    assert metrics.plcc(x.tolist(), truth.tolist()) < 0.99


def test_the_logistic_fit_does_not_depend_on_where_the_scale_begins() -> None:
    # With differences in place of derivatives a mean of almost 0 would hold the middle of the curve fast.
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, 100)
    y = 1 + 4 / (1 + np.exp(-(x - 0.8) / 0.3)) + rng.normal(0, 0.2, 100)
    centred = x - x.mean()
    figures = [
        metrics.plcc_logistic((scale * centred + shift).tolist(), y.tolist()) for scale, shift in ((1, 0), (20, 50))
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)


def test_the_logistic_fit_is_no_worse_than_scipys_from_the_same_start() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 100, 200)
    y = 1 + 4 / (1 + np.exp(-(x - 55) / 12)) + rng.normal(0, 0.4, 200)

    def curve(x, a, b, c, d):
        return (a - b) / (1 + np.exp(-(x - c) / np.abs(d))) + b

    found, _ = optimize.curve_fit(curve, x, y, p0=[y.max(), y.min(), x.mean(), x.std() / 4], maxfev=10_000)
    expected = stats.pearsonr(curve(x, *found), y).statistic
    assert metrics.plcc_logistic(x.tolist(), y.tolist()) == pytest.approx(expected, abs=1e-6)
    assert metrics.plcc_logistic(x.tolist(), y.tolist()) > metrics.plcc(x.tolist(), y.tolist())


def test_a_falling_predictor_is_not_made_to_look_good() -> None:
    # With a free sign of the slope a fit would turn a reversed predictor around; its ranks still tell.
    x = np.linspace(1, 5, 40)
    assert metrics.srcc((-x).tolist(), x.tolist()) == pytest.approx(-1.0)


def test_a_fit_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise RuntimeError("Optimal parameters not found")

    monkeypatch.setattr("scipy.optimize.curve_fit", give_up)
    with pytest.raises(QInsightError, match="did not converge"):
        metrics.plcc_logistic([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(QInsightError, match="at least 5 pictures, not 4"):
        metrics.plcc_logistic([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])


def test_resamples_without_a_figure_are_left_out_unless_they_are_most() -> None:
    first = np.array([1.0, 1.0, 1.0, 1.0, 5.0])
    low, high = metrics.interval(lambda rows: metrics.plcc(first[rows], first[rows]), 5)
    assert (low, high) == pytest.approx((1.0, 1.0))
    flat = np.ones(5)
    with pytest.raises(QInsightError, match="undefined for 1000 of 1000 resamples"):
        metrics.interval(lambda rows: metrics.plcc(flat[rows], flat[rows]), 5)


def test_the_interval_of_a_mean_of_shares_is_that_of_resampled_rows() -> None:
    groups = [[True] * 30 + [False] * 10, [True] * 5 + [False] * 15]
    low, high = metrics.mean_interval(groups, draws=4000)
    rng = np.random.default_rng(5)
    drawn = [
        np.mean([np.mean(rng.choice(group, len(group))) for group in groups])  # plain resampling, row by row
        for _ in range(4000)
    ]
    assert (low, high) == pytest.approx((np.quantile(drawn, 0.025), np.quantile(drawn, 0.975)), abs=0.02)
    assert metrics.mean_interval([[True] * 9]) == (1.0, 1.0)
