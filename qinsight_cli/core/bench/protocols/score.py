"""Ratings -> PLCC and SRCC: Tables 1, 3 and B."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qinsight_cli.core import metrics
from qinsight_cli.core.bench.grid import Cell
from qinsight_cli.core.bench.paper import DATASETS
from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError


@dataclass(frozen=True)
class Scores:
    """Predicted and true ratings of the pictures that have a finite prediction; `failed` have none."""

    predicted: tuple[float, ...]
    truth: tuple[float, ...]
    failed: int


def pair_up(samples: Sequence[Sample], answers: Sequence[RowAnswer]) -> Scores:
    """Rows and their answers -> Scores. A rating that is not finite counts as failed."""
    pairs = [
        (float(answer.fields["rating"]), float(sample.truth["rating"]))
        for sample, answer in zip(samples, answers, strict=True)
        if answer.error is None and math.isfinite(answer.fields["rating"])
    ]
    return Scores(tuple(p for p, _ in pairs), tuple(t for _, t in pairs), len(samples) - len(pairs))


@lru_cache(maxsize=64)  # Tables 1, 3 and B show the same figures
def cells(scores: Scores, fitted: bool, draws: int, seed: int = 0) -> Mapping[str, Cell]:
    """{"PLCC", "SRCC"} of one dataset over the pictures with a rating.

    fitted  PLCC after the four-parameter logistic fit, in place of raw; its interval holds the curve fixed
    draws   bootstrap resamples of the interval; 0 for none
    A figure that is undefined is a cell without value whose note says why.
    """
    predicted = scores.predicted
    try:
        curve = metrics.fit_logistic(predicted, scores.truth) if fitted else None
        mapped = predicted if curve is None else tuple(curve(predicted).tolist())
        linear = _cell(metrics.plcc, mapped, scores, draws, seed)
    except QInsightError as error:
        linear = _undefined(error, scores)
    return {"PLCC": linear, "SRCC": _cell(metrics.srcc, predicted, scores, draws, seed)}


def _cell(
    statistic: Callable[[Sequence[float], Sequence[float]], float],
    predicted: Sequence[float],
    scores: Scores,
    draws: int,
    seed: int,
) -> Cell:
    low: float | None = None
    high: float | None = None
    try:
        value = statistic(predicted, scores.truth)
        first, second = np.array(predicted), np.array(scores.truth)
        if draws:
            low, high = metrics.interval(
                lambda rows: statistic(first[rows], second[rows]),  # type: ignore[arg-type]
                len(first),
                draws,
                seed,
            )
    except QInsightError as error:
        return _undefined(error, scores)
    return Cell(value, "correlation", low, high, _failures(scores), len(predicted), scores.failed)


def _undefined(error: QInsightError, scores: Scores) -> Cell:
    reason = str(error)
    note = f"No figure: {reason}." if not scores.failed else f"No figure: {reason} ({_failures(scores)[:-1]})."
    return Cell(None, "correlation", note=note, count=len(scores.predicted), failed=scores.failed)


def _failures(scores: Scores) -> str:
    if not scores.failed:
        return ""
    total = len(scores.predicted) + scores.failed
    return f"{scores.failed:,} of {total:,} pictures have no rating and are not in the figure."


def average(by_column: Mapping[str, Cell]) -> Cell | None:
    """The plain mean over the seven datasets of Table 1; None unless all seven are measured."""
    values = [by_column[column].value for column in DATASETS if column in by_column]
    there = [value for value in values if value is not None]
    return Cell(float(np.mean(there)), "correlation") if len(there) == len(DATASETS) else None
