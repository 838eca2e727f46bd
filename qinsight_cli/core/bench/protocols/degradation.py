"""Distortions and severities -> the accuracies of Tables 2 and 4, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qinsight_cli.core import metrics
from qinsight_cli.core.bench.grid import Cell
from qinsight_cli.core.bench.paper import AVERAGE, CLASS_COLUMNS
from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.tasks.degradation import CLASSES, NULL

CLASS, LEVEL = "Deg. Acc.", "Lev. Acc."
UNREAD = "no answer"


@dataclass(frozen=True)
class Hits:
    """For each class of the truth, picture by picture: was the class right, were class and level right (Eq. 4, 5)."""

    classes: Mapping[str, tuple[bool, ...]]
    levels: Mapping[str, tuple[bool, ...]]
    failed: int


def hits(samples: Sequence[Sample], answers: Sequence[RowAnswer]) -> Hits:
    """Rows and their answers -> Hits. An answer that could not be read is wrong."""
    classes: dict[str, list[bool]] = {name: [] for name in CLASSES}
    levels: dict[str, list[bool]] = {name: [] for name in CLASSES}
    for sample, answer in zip(samples, answers, strict=True):
        truth = sample.truth["distortion"]
        right = answer.error is None and answer.fields["distortion"] == truth
        classes[truth].append(right)
        levels[truth].append(right and answer.fields["severity"] == sample.truth["severity"])
    return Hits(
        {name: tuple(rows) for name, rows in classes.items()},
        {name: tuple(rows) for name, rows in levels.items()},
        sum(answer.error is not None for answer in answers),
    )


def cells(found: Hits, draws: int, seed: int = 0) -> dict[str, dict[str, Cell]]:
    """{"Deg. Acc.", "Lev. Acc."} -> {column: Cell}.

    The average is the plain mean of the classes that have rows, for levels without null, whose level there is none.
    """
    note = ""
    if found.failed:
        total = sum(map(len, found.classes.values()))
        note = f"{found.failed:,} of {total:,} pictures have no readable answer and count as wrong."
    damaged = {name: rows for name, rows in found.levels.items() if name != NULL}
    return {CLASS: _line(found.classes, note, draws, seed), LEVEL: _line(damaged, note, draws, seed)}


def _line(groups: Mapping[str, Sequence[bool]], note: str, draws: int, seed: int) -> dict[str, Cell]:
    there = {name: rows for name, rows in groups.items() if rows}
    found = {CLASS_COLUMNS[name]: _cell([rows], "", draws, seed) for name, rows in there.items()}
    if there:
        found[AVERAGE["degradation"]] = _cell(list(there.values()), note, draws, seed)
    return found


def _cell(groups: Sequence[Sequence[bool]], note: str, draws: int, seed: int) -> Cell:
    value = float(np.mean([sum(rows) / len(rows) for rows in groups]))
    low, high = metrics.mean_interval(groups, draws, seed) if draws else (None, None)
    return Cell(value, "accuracy", low, high, note, sum(map(len, groups)))


def confusion(samples: Sequence[Sample], answers: Sequence[RowAnswer]) -> Any:
    """Counts, int64 (5, 6): rows the true class, columns the class answered and last the unread, as `CLASSES`."""
    counts = np.zeros((len(CLASSES), len(CLASSES) + 1), dtype=np.int64)
    for sample, answer in zip(samples, answers, strict=True):
        column = len(CLASSES) if answer.error is not None else CLASSES.index(answer.fields["distortion"])
        counts[CLASSES.index(sample.truth["distortion"]), column] += 1
    return counts
