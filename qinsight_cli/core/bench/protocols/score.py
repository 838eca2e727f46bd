"""Ratings -> PLCC and SRCC: Tables 1, 3 and B."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qinsight_cli.core import metrics
from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.bench.grid import Cell, Grid, Line
from qinsight_cli.core.bench.systems.base import RowAnswer, file_name
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError

if TYPE_CHECKING:
    from qinsight_cli.core.bench.datasets import Dataset
    from qinsight_cli.core.bench.run import Bench, ProtocolOptions

# Column of Tables 1, 3 and B -> the name of its dataset for `qinsight prepare`.
DATASETS = {
    "KonIQ": "koniq",
    "SPAQ": "spaq",
    "KADID": "kadid",
    "PIPAL": "pipal",
    "LiveW": "livew",
    "AGIQA": "agiqa",
    "CSIQ": "csiq",
}
AVERAGE = "AVG."
RADAR = ("Q-Insight", "DeQA", "Q-Align", "Qwen-SFT", "CLIP-IQA+")  # the rows of Table 1 in the radar plot


def _table(number: str, alias: str, title: str, columns: tuple[str, ...]) -> Table:
    return Table(
        number=number,
        alias=alias,
        title=title,
        task="score",
        datasets=tuple(DATASETS.values()),
        metrics=("PLCC", "SRCC"),
        columns=columns,
        by_dataset=True,
    )


TABLES = (
    _table("1", "score", "PLCC / SRCC on score regression", (*DATASETS, AVERAGE)),
    _table("3", "ablation-score", "Score regression, joint against single-task training", (*DATASETS, AVERAGE)),
    _table("B", "epsilon", "The threshold ε of the score reward", tuple(DATASETS)),
)


def column_of(dataset: Dataset) -> str:
    """The paper's column for one of its datasets; the key of any other dataset."""
    return next((column for column, name in DATASETS.items() if name == dataset.name), dataset.key)


def columns(table: Table, datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """The paper's columns, and a column for each other dataset."""
    found = dict.fromkeys(column_of(one) for one in datasets)
    return (*table.columns, *(column for column in found if column not in table.columns))


def lines(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, note: str) -> list[Line]:
    options = bench.options
    figures: dict[str, dict[str, Cell]] = {metric: {} for metric in table.metrics}
    for dataset in datasets:
        found = pair_up(dataset.samples, bench.answers_of(label, dataset))
        for metric, cell in cells(found, options.fitted, options.draws, options.seed).items():
            figures[metric][column_of(dataset)] = cell
    for by_column in figures.values():
        mean = average(by_column)
        if mean is not None and AVERAGE in table.columns:
            by_column[AVERAGE] = mean
    return [Line(label, metric, figures[metric], measured=True, note=note) for metric in table.metrics]


def remarks(options: ProtocolOptions, datasets: Sequence[Dataset]) -> list[str]:
    how = "after a four-parameter logistic fit" if options.fitted else "raw"
    return [f"PLCC measured here is {how}; the paper does not say which it prints."]


@dataclass(frozen=True)
class Scores:
    """The predicted and true ratings of the pictures with a finite prediction; `failed` pictures have none."""

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
    """{"PLCC", "SRCC"} of one dataset, over the pictures with a rating.

    fitted  PLCC after the four-parameter logistic fit, not raw; its interval keeps the curve fixed
    draws   bootstrap resamples of the interval; 0 for none
    An undefined figure is a cell without a value and with a note.
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
    statistic: Callable[[Any, Any], float],
    predicted: Sequence[float],
    scores: Scores,
    draws: int,
    seed: int,
) -> Cell:
    first, second = np.array(predicted), np.array(scores.truth)

    def of_rows(rows: Any) -> float:
        return statistic(first[rows], second[rows])

    try:
        value = statistic(predicted, scores.truth)
        low, high = metrics.interval(of_rows, len(first), draws, seed)
    except QInsightError as error:
        return _undefined(error, scores)
    return Cell(value, "correlation", low, high, _failures(scores), len(predicted), scores.failed)


def _undefined(error: QInsightError, scores: Scores) -> Cell:
    note = f"No figure: {error} ({_failures(scores)[:-1]})." if scores.failed else f"No figure: {error}."
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


def plots(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, folder: Path) -> None:
    """Prediction against MOS, one panel for each dataset."""
    from qinsight_cli.core.report import plots as drawing

    clouds = []
    for dataset in datasets:
        found = pair_up(dataset.samples, bench.answers_of(label, dataset))
        if not found.predicted:
            continue
        figures = cells(found, bench.options.fitted, 0)
        curve = None
        if bench.options.fitted and figures["PLCC"].value is not None:
            curve = metrics.fit_logistic(found.predicted, found.truth)
        title = f"{column_of(dataset)}: PLCC {figures['PLCC'].text()}, SRCC {figures['SRCC'].text()}"
        words = f"{title}\n{len(found.predicted):,} pictures"
        clouds.append(drawing.Cloud(words, found.predicted, found.truth, curve))
    if clouds:
        path = folder / f"{table.name}-scatter-{file_name(label)}.png"
        drawing.scatter(clouds, f"{label}: prediction against MOS", path)


def radar(grid: Grid, folder: Path) -> None:
    """The published and measured PLCC of Table 1, one axis for each of its datasets."""
    from qinsight_cli.core.report import plots as drawing

    shown = [line for line in grid.lines if line.metric == "PLCC"]
    published = {
        line.method: [float(line.cells[column].value or 0.0) for column in DATASETS]
        for line in shown
        if not line.measured and line.method in RADAR
    }
    measured = {
        line.method: [line.cells[column].value if column in line.cells else None for column in DATASETS]
        for line in shown
        if line.measured and any(column in line.cells for column in DATASETS)
    }
    drawing.radar(list(DATASETS), published, measured, folder / "table1-radar.png")
