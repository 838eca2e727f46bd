"""How good a model is on held-out rows while it trains: greedy answers, through the path that inference takes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from qinsight_cli.core.assess import assess
from qinsight_cli.core.engines import Decoding, Engine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.manifest import Sample
from qinsight_cli.core.metrics import plcc, srcc
from qinsight_cli.core.tasks import ParseFailure, Task

BATCH = 8

# (task, predicted fields or None, true fields, rewards)
Outcome = tuple[str, dict[str, Any] | None, dict[str, Any], dict[str, float]]


def choose(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """At most `limit` rows, each task with its share, the same for the same seed."""
    if len(samples) <= limit:
        return list(samples)
    rng = random.Random(seed)
    return [samples[index] for index in sorted(rng.sample(range(len(samples)), limit))]


def outcomes(engine: Engine, samples: Sequence[Sample], tasks: Mapping[str, Task], tokens: int) -> list[Outcome]:
    """The model's greedy answers to the rows. A picture that cannot be used counts as an answer that cannot be read."""
    found: list[Outcome] = []
    for name, task in tasks.items():
        rows = [sample for sample in samples if sample.task == name]
        items = [{role: str(path) for role, path in row.images.items()} for row in rows]
        answered = assess(task, items, engine, Decoding(max_new_tokens=tokens), batch_size=BATCH)
        for row, result in zip(rows, answered, strict=True):
            text = result.completions[0].text if result.completions else ""
            answer = task.parse(text)
            fields = None if isinstance(answer, ParseFailure) else task.fields(answer)
            found.append((name, fields, task.fields(row.answer()), task.rewards(text, row.answer())))
    return found


def summary(found: Sequence[Outcome], tasks: Mapping[str, Task], weights: Mapping[str, float]) -> dict[str, float]:
    """Held-out figures: the mean overall reward and each reward, PLCC and SRCC of the ratings that could be read, the
    accuracies of Table 2 and Table 5, and the share of answers that could not be read."""
    figures = {
        "reward": fmean(
            sum(weights.get(reward, tasks[name].weights[reward]) * value for reward, value in given.items())
            for name, _, _, given in found
        ),
        "unread": fmean(fields is None for _, fields, _, _ in found),
        "rows": len(found),
    }
    for reward in dict.fromkeys(reward for task in tasks.values() for reward in task.weights):
        values = [given[reward] for _, _, _, given in found if reward in given]
        if values:
            figures[reward] = fmean(values)
    for ours, theirs in (("r_deg", "class_accuracy"), ("r_lev", "level_accuracy"), ("r_comp", "accuracy")):
        if ours in figures:
            figures[theirs] = figures[ours]
    ratings = [(fields["rating"], true["rating"]) for _, fields, true, _ in found if fields and "rating" in true]
    for name, statistic in (("plcc", plcc), ("srcc", srcc)):
        try:
            figures[name] = statistic([pair[0] for pair in ratings], [pair[1] for pair in ratings])
        except QInsightError:
            continue  # too few ratings, or all alike: there is no correlation to report
    return {name: round(value, 6) for name, value in figures.items()}
