"""Evaluation on held-out rows during training: greedy answers, through the same code as inference."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Any

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.engines import Decoding, Engine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.metrics import balanced_accuracy, plcc, srcc
from qinsight_cli.core.tasks import ParseFailure, Task
from qinsight_cli.core.tasks.degradation import NULL

BATCH_SIZE = 8


@dataclass(frozen=True)
class Outcome:
    """The result of one row: its task and source, the answer's fields (None if unreadable), the truth's fields,
    and the rewards that the answer earns."""

    task: str
    source: str
    answer: dict[str, Any] | None
    truth: dict[str, Any]
    rewards: dict[str, float]


def choose_rows(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """At most `limit` rows, balanced over tasks and sources, the same for the same seed."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault((sample.task, sample.source), []).append(index)
    rng = random.Random(seed)
    drawn = [rng.sample(group, len(group)) for group in groups.values()]
    in_turn = [index for turn in zip_longest(*drawn) for index in turn if index is not None]
    return [samples[index] for index in sorted(in_turn[:limit])]


def outcomes(engine: Engine, samples: Sequence[Sample], tasks: Mapping[str, Task], tokens: int) -> list[Outcome]:
    """The model's greedy answers to the rows. An unusable picture counts as an unreadable answer."""
    found: list[Outcome] = []
    for name, task in tasks.items():
        rows = [sample for sample in samples if sample.task == name]
        items = [{role: str(path) for role, path in row.images.items()} for row in rows]
        answered = assess(task, items, engine, Decoding(max_new_tokens=tokens), batch_size=BATCH_SIZE)
        for row, result in zip(rows, answered, strict=True):
            text = result.completions[0].text if result.completions else ""
            answer = task.parse(text)
            fields = None if isinstance(answer, ParseFailure) else task.fields(answer)
            truth = row.answer()
            found.append(Outcome(name, row.source, fields, task.fields(truth), task.rewards(text, answer, truth)))
    return found


def summary(found: Sequence[Outcome], tasks: Mapping[str, Task], weights: Mapping[str, float]) -> dict[str, float]:
    """Held-out figures: the mean overall reward, each reward, the accuracies of Tables 2 and 5, the share of unreadable
    answers, and PLCC and SRCC of the readable ratings. If ratings come from several sources, r_scr, PLCC and SRCC are
    also given for each source, as plcc/SOURCE."""
    figures = {
        "reward": fmean(
            sum(weights.get(name, tasks[one.task].weights[name]) * value for name, value in one.rewards.items())
            for one in found
        ),
        "unread": fmean(one.answer is None for one in found),
        "rows": len(found),
    }
    for name in dict.fromkeys(name for task in tasks.values() for name in task.weights):
        values = [one.rewards[name] for one in found if name in one.rewards]
        if values:
            figures[name] = fmean(values)
    if "r_comp" in figures:
        figures["accuracy"] = figures["r_comp"]
    figures |= _by_class(found)
    rated = [one for one in found if "rating" in one.truth]
    sources = sorted({one.source for one in rated})
    figures |= _correlations(rated, "")
    for source in sources if len(sources) > 1 else ():
        of_source = [one for one in rated if one.source == source]
        figures[f"r_scr/{source}"] = fmean(one.rewards["r_scr"] for one in of_source)
        figures |= _correlations(of_source, f"/{source}")
    return {name: round(value, 6) for name, value in figures.items()}


def _by_class(found: Sequence[Outcome]) -> dict[str, float]:
    """The averages of Table 2: the mean of the accuracies of the classes. Undistorted pictures have no severity."""
    by_class: dict[str, list[Outcome]] = {}
    for one in found:
        if "distortion" in one.truth:
            by_class.setdefault(one.truth["distortion"], []).append(one)
    classes = {name: [one.rewards["r_deg"] for one in group] for name, group in by_class.items()}
    levels = {name: [one.rewards["r_lev"] for one in group] for name, group in by_class.items() if name != NULL}
    named = {"class_accuracy": classes, "level_accuracy": levels}
    return {name: balanced_accuracy(groups) for name, groups in named.items() if groups}


def _correlations(rated: Sequence[Outcome], suffix: str) -> dict[str, float]:
    """PLCC and SRCC; none if they are undefined: too few readable answers, or all are equal."""
    figures = {}
    predicted = [one.answer["rating"] for one in rated if one.answer]
    truth = [one.truth["rating"] for one in rated if one.answer]
    for name, statistic in (("plcc", plcc), ("srcc", srcc)):
        with suppress(QInsightError):
            figures[name + suffix] = statistic(predicted, truth)
    return figures
