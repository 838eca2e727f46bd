"""The gallery of a bench: every answer with the label of its row, the largest errors first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.report.gallery.cards import ROLE_NAMES, Card, Picture
from qinsight_cli.core.report.gallery.page import About
from qinsight_cli.core.tasks import TASKS, Task
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

if TYPE_CHECKING:
    from qinsight_cli.core.bench.datasets import Dataset
    from qinsight_cli.core.bench.run import Bench
    from qinsight_cli.core.data.manifest import Sample

WRONG = 5.0  # the badness of an answer in words with no correct part


def cards(bench: Bench) -> list[Card]:
    """A card for each answer of each system, in the order of `bench.answers`."""
    return [
        card
        for (label, key, task), answers in bench.answers.items()
        for card in _cards(f"{label} on {key}", TASKS[task], bench.unique_datasets[key, task], answers)
    ]


def about(bench: Bench, shown: Sequence[Card]) -> About:
    """The title of the gallery, and how many rows it has of each system and dataset."""
    names = ", ".join(table.name for table in bench.tables)
    line = "each answer with the label of its row, the largest errors first"
    return About(f"{len(shown):,} answers for {names}", line, Counter(card.group for card in shown).most_common())


def _cards(group: str, task: Task, dataset: Dataset, answers: Sequence[RowAnswer]) -> list[Card]:
    rows = list(zip(dataset.samples, answers, strict=True))
    wrong = _distances(task, rows) if task.number else [_differing(task, sample, answer) for sample, answer in rows]
    return [_card(group, task, sample, answer, far) for (sample, answer), far in zip(rows, wrong, strict=True)]


def _card(group: str, task: Task, sample: Sample, answer: RowAnswer, wrong: float | None) -> Card:
    several = len(task.roles) > 1
    roles = [role for role in (*task.roles, *task.optional) if role in sample.images]
    pictures = tuple(Picture(ROLE_NAMES.get(r, r) if several else "", str(sample.images[r])) for r in roles)
    answered = answer.error is None
    value = answer.fields.get(task.number) if task.number and answered else None
    on_scale = value is not None and LOWEST <= value <= HIGHEST
    return Card(
        pictures=pictures,
        number=value if on_scale else None,
        words={} if task.number else {"label": _phrase(task, sample.truth)},
        said="" if on_scale or not answered else _phrase(task, answer.fields),
        verdict=_verdict(task, sample, answer, wrong) if answered else "",
        reasoning=answer.reasoning,
        error=answer.error or "",
        badness=wrong if answered else None,
        note=f"label {_phrase(task, sample.truth)}",
        group=group,
    )


def _phrase(task: Task, fields: Mapping[str, Any]) -> str:
    """Fields in words: "3.7", "serious blur", "Image A"."""
    written = task.written({name: fields[name] for name in task.columns if fields.get(name) is not None})
    words = [f"{value:.4g}" if isinstance(value, float | int) else str(value) for value in written.values()]
    return " ".join(dict.fromkeys(reversed(words)))


def _verdict(task: Task, sample: Sample, answer: RowAnswer, wrong: float | None) -> str:
    if not task.number:
        return "as the label" if not wrong else "not as the label" if wrong == WRONG else "in part as the label"
    gap = float(answer.fields[task.number]) - float(sample.truth[task.number])
    if not LOWEST <= answer.fields[task.number] <= HIGHEST:
        return ""  # the rating is on another scale, so the difference means nothing
    return f"{abs(gap):.2f} {'above' if gap > 0 else 'below'} the label" if round(gap, 2) else "as the label"


def _differing(task: Task, sample: Sample, answer: RowAnswer) -> float | None:
    """The share of the answer's fields that differ from the label, as a badness."""
    if answer.error is not None:
        return None
    truth = task.fields(sample.answer())
    differing = sum(answer.fields.get(name) != truth[name] for name in task.columns)
    return WRONG * differing / len(task.columns)


def _distances(task: Task, rows: Sequence[tuple[Sample, RowAnswer]]) -> list[float | None]:
    """The distance of each number from its label; if the numbers are on another scale, the distance of the ranks."""
    from scipy.stats import rankdata

    answered = [i for i, (_, answer) in enumerate(rows) if answer.error is None]
    numbers = np.array([rows[i][1].fields[task.number] for i in answered], dtype=np.float64)
    labels = np.array([rows[i][0].truth[task.number] for i in answered], dtype=np.float64)
    if not np.all((numbers >= LOWEST) & (numbers <= HIGHEST)):
        scale = (HIGHEST - LOWEST) / max(1, len(answered) - 1)
        numbers, labels = scale * rankdata(numbers), scale * rankdata(labels)
    found: list[float | None] = [None] * len(rows)
    for place, distance in zip(answered, np.abs(numbers - labels).tolist(), strict=True):
        found[place] = distance
    return found
