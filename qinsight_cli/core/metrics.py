"""How well predictions agree with the truth: PLCC, SRCC, accuracies, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qinsight_cli.core.errors import QInsightError


def plcc(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Pearson's linear correlation on the raw values, in [-1, 1]. Raises QInsightError where it is undefined."""
    first, second = _paired(predicted, truth)
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def srcc(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank, in [-1, 1]."""
    from scipy.stats import rankdata

    first, second = _paired(predicted, truth)
    return plcc(rankdata(first).tolist(), rankdata(second).tolist())


def _paired(predicted: Sequence[float], truth: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if first.shape != second.shape:
        raise QInsightError(f"{first.size} predictions for {second.size} labels")
    if first.size < 3:
        raise QInsightError(f"a correlation needs at least 3 pictures, not {first.size}")
    for name, values in (("predictions", first), ("labels", second)):
        if not np.isfinite(values).all():
            raise QInsightError(f"the {name} hold a value that is not a number")
        if np.ptp(values) == 0:
            raise QInsightError(f"all {name} are {values[0]:g}: the correlation is undefined")
    return first, second


def accuracy(predicted: Sequence[str | None], truth: Sequence[str]) -> float:
    """Share of answers that are right; an answer that could not be read (None) is wrong."""
    if len(predicted) != len(truth) or not truth:
        raise QInsightError(f"{len(predicted)} predictions for {len(truth)} labels")
    return sum(a == b for a, b in zip(predicted, truth, strict=True)) / len(truth)


def accuracy_by(groups: Sequence[str], predicted: Sequence[str | None], truth: Sequence[str]) -> dict[str, float]:
    """Accuracy within each group of rows, in order of first appearance; their plain mean is Table 2's average."""
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    return {
        group: accuracy([predicted[row] for row in rows], [truth[row] for row in rows])
        for group, rows in rows_of.items()
    }


def interval(
    statistic: Callable[[NDArray[np.intp]], float], count: int, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap 95 % interval of a statistic of row indices, over `draws` resamples of `count` rows."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, count, count)) for _ in range(draws)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))
