"""Agreement of predictions with labels: PLCC raw and fitted, SRCC, accuracies, bootstrap intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qinsight_cli.core.errors import QInsightError

Interval = tuple[float, float] | tuple[None, None]  # lower and upper end

# Values are equal if their range is below this share of the largest: about 500 times the spacing of doubles, more than
# the rounding errors of sums over thousands of values.
ROUNDING = 1e-13
TIE = 16 * np.finfo(np.float64).eps  # relative difference below which neighbours are a tie


def plcc(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Pearson's linear correlation on the raw values, in [-1, 1]. Raises QInsightError where it is undefined."""
    first, second = (_centred(values) for values in _paired(predicted, truth))
    return float(np.clip(first @ second / np.sqrt((first @ first) * (second @ second)), -1.0, 1.0))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values minus their mean, scaled to at most 1: squares neither overflow nor vanish."""
    values = values / np.abs(values).max()
    values = values - values.mean()
    return values / np.abs(values).max()


def srcc(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Spearman's rank correlation, in [-1, 1]. Values that are equal up to rounding share their mean rank."""
    first, second = _paired(predicted, truth)
    return plcc(_ranks(first).tolist(), _ranks(second).tolist())


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each value. Values that differ only by rounding are a tie, such as 0.1 + 0.2 and 0.3."""
    from scipy.stats import rankdata

    order = np.argsort(values, kind="stable")
    ordered = values[order]
    larger = np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    apart = ordered[1:] / 2 - ordered[:-1] / 2 > TIE / 2 * larger  # halves: a difference may overflow
    steps = np.empty(len(values))
    steps[order] = np.concatenate([[0.0], np.cumsum(apart)])
    return np.asarray(rankdata(steps), dtype=np.float64)


NARROWEST = 1e-12  # smallest width of a fitted curve, in standard deviations of the predictions


@dataclass(frozen=True)
class Logistic:
    """f(x) = lower + (upper - lower) / (1 + exp(-(x - middle) / |width|)), the four-parameter curve of VQEG."""

    upper: float
    lower: float
    middle: float
    width: float

    def __call__(self, values: Sequence[float]) -> NDArray[np.float64]:
        from scipy.special import expit

        share = expit((np.asarray(values, dtype=np.float64) - self.middle) / abs(self.width))
        return self.lower + (self.upper - self.lower) * np.asarray(share)


def fit_logistic(predicted: Sequence[float], truth: Sequence[float]) -> Logistic:
    """Fit the curve from predictions to labels by least squares.

    The fit starts at upper = max(truth), lower = min(truth), middle = mean(predicted), width = std(predicted) / 4, as
    in the evaluation code of DeQA-Score. It uses standardised values, so the result does not depend on the scale.
    Raises QInsightError if it does not converge; it never falls back to raw values.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    first, second = _paired(predicted, truth)
    if first.size < 5:
        raise QInsightError(f"a logistic fit of four parameters needs at least 5 pictures, not {first.size}")
    unit = np.abs(first).max()
    middle, spread = (first / unit).mean() * unit, (first / unit).std() * unit
    low, reach = second.min(), np.ptp(second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # the covariance of the parameters is not used
        try:
            # With jac: scipy's own finite differences miss the middle if the mean of the predictions is almost 0.
            found, *_ = curve_fit(
                _logistic,
                (first - middle) / spread,
                (second - low) / reach,
                p0=(1.0, 0.0, 0.0, 0.25),
                jac=_slopes,
                maxfev=10_000,
            )
        except RuntimeError as error:
            raise QInsightError("the logistic fit did not converge") from error
    upper, lower, centre, width = (float(value) for value in found)
    return Logistic(
        float(low + reach * upper),
        float(low + reach * lower),
        float(middle + spread * centre),
        float(spread * max(abs(width), NARROWEST)),
    )


def plcc_logistic(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Pearson's correlation after the four-parameter logistic fit."""
    return plcc(fit_logistic(predicted, truth)(predicted).tolist(), truth)


def _logistic(
    values: NDArray[np.float64], upper: float, lower: float, middle: float, width: float
) -> NDArray[np.float64]:
    from scipy.special import expit

    return lower + (upper - lower) * expit((values - middle) / max(abs(width), NARROWEST))


def _slopes(
    values: NDArray[np.float64], upper: float, lower: float, middle: float, width: float
) -> NDArray[np.float64]:
    """The derivatives of `_logistic` in its four parameters, (values, 4)."""
    from scipy.special import expit

    scale = max(abs(width), NARROWEST)
    along = (values - middle) / scale
    share = expit(along)
    steep = (upper - lower) * share * (1.0 - share) / scale
    return np.stack([share, 1.0 - share, -steep, -steep * along * (1.0 if width >= 0 else -1.0)], axis=1)


def _paired(predicted: Sequence[float], truth: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = _numbers("predictions", predicted), _numbers("labels", truth)
    if first.shape != second.shape:
        raise QInsightError(f"{first.size} predictions for {second.size} labels")
    if first.size < 3:
        raise QInsightError(f"a correlation needs at least 3 pictures, not {first.size}")
    for name, values in (("predictions", first), ("labels", second)):
        if not np.isfinite(values).all():
            raise QInsightError(f"the {name} hold a value that is not a number")
        most = np.abs(values).max()
        if most == 0 or np.ptp(values / most) <= ROUNDING:
            raise QInsightError(f"all {name} are {values[0]:g}: the correlation is undefined")
    return first, second


def _numbers(name: str, values: Sequence[float]) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64).reshape(-1)
    except (OverflowError, TypeError, ValueError):
        raise QInsightError(f"the {name} hold a value that is not a number") from None


def balanced_accuracy(groups: Mapping[Any, Sequence[float]]) -> float:
    """The mean of the accuracies of the classes: the average of Table 2.

    groups  class -> for each of its rows whether the answer is right; a missing answer is wrong
    Raises QInsightError if a class has no row, or there is no class.
    """
    if not groups or not all(len(group) for group in groups.values()):
        raise QInsightError("an accuracy needs at least one answer of each class")
    return float(np.mean([np.mean(group) for group in groups.values()]))


def interval(statistic: Callable[[NDArray[np.intp]], float], count: int, draws: int = 1000, seed: int = 0) -> Interval:
    """Bootstrap 95 % interval of a statistic of row indices, over `draws` resamples of `count` rows; none for 0 draws.

    Resamples for which the statistic is undefined (for example if all predictions are equal) are left out. Raises
    QInsightError if fewer than half of them remain.
    """
    if not draws:
        return None, None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = rng.integers(0, count, count)
        try:
            values.append(statistic(rows))
        except QInsightError:
            continue
    if len(values) < draws / 2:
        raise QInsightError(f"the statistic is undefined for {draws - len(values)} of {draws} resamples")
    return _middle(values)


def mean_interval(groups: Sequence[Sequence[bool]], draws: int = 1000, seed: int = 0) -> Interval:
    """Bootstrap 95 % interval of the mean over groups of the share of True in each; none for 0 draws.

    Rows are resampled within each group. The number of True in n draws with replacement is binomial, so it is drawn as
    such.
    """
    if not draws:
        return None, None
    rng = np.random.default_rng(seed)
    shares = [rng.binomial(len(group), sum(group) / len(group), draws) / len(group) for group in groups]
    return _middle(np.mean(shares, axis=0))


def _middle(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))
