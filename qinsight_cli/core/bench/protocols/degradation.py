"""Distortions and severities -> the accuracies of Tables 2 and 4, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qinsight_cli.core import metrics
from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.bench.grid import Cell, Line
from qinsight_cli.core.bench.protocols import method_name
from qinsight_cli.core.bench.systems.base import RowAnswer, file_name
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.tasks.degradation import CLASSES, NULL

if TYPE_CHECKING:
    from qinsight_cli.core.bench.datasets import Dataset
    from qinsight_cli.core.bench.run import Bench, ProtocolOptions

CLASS, LEVEL = "Deg. Acc.", "Lev. Acc."
UNREAD = "no answer"
# Class -> its column in Tables 2 and 4, which say JPEG for compression.
CLASS_COLUMNS = {"noise": "Noise", "blur": "Blur", "compression": "JPEG", "darken": "Darken", "null": "Null"}
AVERAGE = "Average"


def _table(number: str, alias: str, title: str) -> Table:
    return Table(
        number=number,
        alias=alias,
        title=title,
        task="degradation",
        datasets=("kadis",),
        metrics=(CLASS, LEVEL),
        columns=(*CLASS_COLUMNS.values(), AVERAGE),
    )


TABLES = (
    _table("2", "degradation", "Accuracy of distortion class and level"),
    _table("4", "ablation-degradation", "Degradation perception, joint against single-task training"),
)


def columns(table: Table, datasets: Sequence[Dataset]) -> tuple[str, ...]:
    return table.columns


def lines(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, note: str) -> list[Line]:
    made = []
    for dataset in datasets:
        method = method_name(table, label, dataset, datasets)
        found = hits(dataset.samples, bench.answers_of(label, dataset))
        figures = cells(found, bench.options.draws, bench.options.seed)
        made += [Line(method, metric, figures[metric], measured=True, note=note) for metric in table.metrics]
    return made


def remarks(options: ProtocolOptions, datasets: Sequence[Dataset]) -> list[str]:
    return []


@dataclass(frozen=True)
class Hits:
    """For each true class, picture by picture: whether the class is right, and whether class and level are (Eq. 4, 5).

    failed      pictures without a class
    unlevelled  pictures with a class but no severity
    """

    classes: Mapping[str, tuple[bool, ...]]
    levels: Mapping[str, tuple[bool, ...]]
    failed: int
    unlevelled: int = 0


def hits(samples: Sequence[Sample], answers: Sequence[RowAnswer]) -> Hits:
    """Rows and their answers -> Hits. An unreadable answer is wrong. If only the class is readable, the level is
    wrong."""
    classes: dict[str, list[bool]] = {name: [] for name in CLASSES}
    levels: dict[str, list[bool]] = {name: [] for name in CLASSES}
    for sample, answer in zip(samples, answers, strict=True):
        truth = sample.truth["distortion"]
        right = answer.fields.get("distortion") == truth
        classes[truth].append(right)
        levels[truth].append(right and answer.fields.get("severity") == sample.truth["severity"])
    read = [answer.fields.get("distortion") is not None for answer in answers]
    whole = [answer.fields.get("severity") is not None for answer in answers]
    return Hits(
        {name: tuple(rows) for name, rows in classes.items()},
        {name: tuple(rows) for name, rows in levels.items()},
        read.count(False),
        sum(some and not all_of_it for some, all_of_it in zip(read, whole, strict=True)),
    )


def cells(found: Hits, draws: int, seed: int = 0) -> dict[str, dict[str, Cell]]:
    """{"Deg. Acc.", "Lev. Acc."} -> {column: Cell}.

    The average is the plain mean over all classes, for levels without null, which has no level. If a class has no rows,
    there is no average, and a note says so.
    """
    note, more = "", ""
    total = sum(map(len, found.classes.values()))
    if found.failed:
        note = f"{found.failed:,} of {total:,} pictures have no readable answer and count as wrong."
    if found.unlevelled:
        more = f"{found.unlevelled:,} of {total:,} pictures have a class but no readable severity: it counts as wrong."
    damaged = {name: rows for name, rows in found.levels.items() if name != NULL}
    level_note = " ".join(filter(None, (note, more)))
    return {CLASS: _line(found.classes, note, draws, seed), LEVEL: _line(damaged, level_note, draws, seed)}


def _line(groups: Mapping[str, Sequence[bool]], note: str, draws: int, seed: int) -> dict[str, Cell]:
    there = {name: rows for name, rows in groups.items() if rows}
    found = {CLASS_COLUMNS[name]: _cell({name: rows}, "", draws, seed) for name, rows in there.items()}
    missing = [CLASS_COLUMNS[name] for name, rows in groups.items() if not rows]
    if missing and there:
        words = f"No average: there are no rows of {', '.join(missing)}."
        found[AVERAGE] = Cell(None, "accuracy", note=" ".join(filter(None, (words, note))))
    elif there:
        found[AVERAGE] = _cell(there, note, draws, seed)
    return found


def _cell(groups: Mapping[str, Sequence[bool]], note: str, draws: int, seed: int) -> Cell:
    low, high = metrics.mean_interval(list(groups.values()), draws, seed)
    count = sum(map(len, groups.values()))
    return Cell(metrics.balanced_accuracy(groups), "accuracy", low, high, note, count)


def confusion(samples: Sequence[Sample], answers: Sequence[RowAnswer]) -> Any:
    """Counts, int64 (5, 6): rows are true classes, columns predicted classes, as `CLASSES`, the last one no answer."""
    counts = np.zeros((len(CLASSES), len(CLASSES) + 1), dtype=np.int64)
    for sample, answer in zip(samples, answers, strict=True):
        predicted = answer.fields.get("distortion")
        column = len(CLASSES) if predicted is None else CLASSES.index(predicted)
        counts[CLASSES.index(sample.truth["distortion"]), column] += 1
    return counts


def plots(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, folder: Path) -> None:
    """One confusion matrix for each dataset."""
    from qinsight_cli.core.report import plots as drawing

    for dataset in datasets:
        counts = confusion(dataset.samples, bench.answers_of(label, dataset))
        path = folder / f"{table.name}-confusion-{file_name(label)}-{file_name(dataset.key)}.png"
        names = [*(CLASS_COLUMNS[name] for name in CLASSES), UNREAD]
        drawing.confusion(counts, names[:-1], names, f"{label} on {dataset.key}", path)
