"""TRL's reward functions from the rewards of the tasks: one for each reward, None for the rows of other tasks.

A row of the training set carries `task` and `truth`, the truth fields of its manifest row as JSON. Pure Python.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, pvariance
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS, ParseFailure, Task, failure_kinds
from qinsight_cli.core.tasks.base import known_part
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe

RewardFunction = Callable[..., list[float | None]]
RANK = "r_rank"


def tasks_of(recipe: GrpoRecipe) -> dict[str, Task]:
    """The tasks of a run by name, with the recipe's epsilon in Eq. 3, or its graded form of the score reward."""
    tasks = {name: TASKS[name] for name in recipe.tasks}
    for name, task in tasks.items():
        if "r_scr" not in task.weights:
            continue
        if recipe.score_reward == "gaussian":
            tasks[name] = replace(task, rewards=partial(gaussian_rewards, task, recipe.score_epsilon))
        else:
            rewards: Callable[..., dict[str, float]] = task.rewards
            tasks[name] = replace(task, rewards=partial(rewards, epsilon=recipe.score_epsilon))
    return tasks


def gaussian_rewards(task: Task, sigma: float, completion: str, answer: Any, truth: Any) -> dict[str, float]:
    """A smooth form of Eq. 3: r_scr = exp(-error^2 / (2 sigma^2)) instead of 1 within epsilon. Not in the paper."""
    said = known_part(answer)
    near = 0.0 if said is None else math.exp(-((said.rating - truth.rating) ** 2) / 2 / sigma**2)
    return {**task.rewards(completion, answer, truth), "r_scr": near}


@dataclass(frozen=True)
class ReadCompletion:
    """One completion: its task, its parsed answer, the truth of its row, and its rewards."""

    task: Task
    answer: Any
    truth: Any
    rewards: Mapping[str, float]


class BatchReader:
    """Reads the completions of a batch once for all reward functions, which TRL calls one after the other."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._batch: list[tuple[str, str, str]] = []
        self._read: list[ReadCompletion] = []

    def __call__(self, completions: Sequence[Any], task: Sequence[str], truth: Sequence[str]) -> list[ReadCompletion]:
        batch = list(zip(map(_text, completions), task, truth, strict=True))
        if batch != self._batch:
            self._batch, self._read = batch, [self._one(*each) for each in batch]
        return self._read

    def _one(self, text: str, name: str, truth: str) -> ReadCompletion:
        task = self._tasks[name]
        answer, true = task.parse(text), task.truth(json.loads(truth))
        return ReadCompletion(task, answer, true, task.rewards(text, answer, true))


def reward_functions(recipe: GrpoRecipe) -> tuple[list[RewardFunction], list[float]]:
    """TRL's `reward_funcs` and `reward_weights`, Eq. 6 and 8. Each function has the name of its reward.

    Raises QInsightError if two tasks give a shared reward different weights: TRL has one weight per reward.
    """
    tasks = tasks_of(recipe)
    weights: dict[str, float] = {}
    for task in tasks.values():
        for name, usual in task.weights.items():
            weight = recipe.weights.get(name, usual)
            if weights.setdefault(name, weight) != weight:
                raise QInsightError(f"the tasks weigh {name} differently; give it one weight in the recipe")
    read = BatchReader(tasks)
    functions = [_reward_function(name, read) for name in weights]
    if recipe.rank_weight:
        if not any(task.number for task in tasks.values()):
            rated = ", ".join(task.name for task in TASKS.values() if task.number)
            raise QInsightError(f"rank_weight needs the {rated} task")
        functions.append(_rank_function(read))
        weights[RANK] = recipe.rank_weight
    functions[0] = _counting_failures(functions[0], read)
    return functions, list(weights.values())


def overall(task: Task, weights: Mapping[str, float], completion: str, truth: Any) -> float:
    """The overall reward of one completion, Eq. 6 and 8. `weights` override those of the task."""
    given = task.earned(completion, truth)
    return sum(weights.get(name, task.weights[name]) * value for name, value in given.items())


def best_reward(task: Task, weights: Mapping[str, float]) -> float:
    return sum(weights.get(name, usual) for name, usual in task.weights.items())


def truth_text(task: Task, answer: Any) -> str:
    """The truth of a row as text for the reward functions."""
    return json.dumps(task.fields(answer))


def _reward_function(name: str, read: BatchReader) -> RewardFunction:
    """completions, task, truth -> the reward `name` of each completion, or None if its task has no such reward."""

    def reward(completions: Sequence[Any], task: Sequence[str], truth: Sequence[str], **_: Any) -> list[float | None]:
        return [one.rewards[name] if name in one.task.weights else None for one in read(completions, task, truth)]

    reward.__name__ = name
    return reward


def _text(completion: Any) -> str:
    """TRL passes a completion as a conversation of one message."""
    return completion if isinstance(completion, str) else completion[0]["content"]


def _counting_failures(function: RewardFunction, read: BatchReader) -> RewardFunction:
    """The same rewards; also adds the share of unreadable completions, by kind, to TRL's metrics."""

    def reward(
        completions: Sequence[Any],
        task: Sequence[str],
        truth: Sequence[str],
        log_metric: Any = None,
        log_extra: Any = None,
        **rest: Any,
    ) -> list[float | None]:
        answers = [one.answer for one in read(completions, task, truth)]
        kinds = Counter(answer.kind for answer in answers if isinstance(answer, ParseFailure))
        if log_metric is not None:
            for kind in failure_kinds():
                log_metric(f"parse_failures/{kind}", kinds[kind] / len(answers))
        if log_extra is not None:
            for column, values in (("id", rest["id"]), ("task", task), ("truth", truth)):
                log_extra(column, list(values))
        return function(completions=completions, task=task, truth=truth, **rest)

    reward.__name__ = function.__name__
    return reward


def _rank_function(read: BatchReader) -> RewardFunction:
    """How well a rating ranks its picture among the other pictures of the batch, in [0, 1]. Not in the paper.

    VisualQuality-R1 (arXiv 2505.14460): with Thurstone's model, p = Phi((rating - mean of the other group) / the
    root of both groups' variances), and the fidelity sqrt(p t) + sqrt((1 - p)(1 - t)) to the truth t in {0, 1/2, 1},
    averaged over the other pictures. A rating that cannot be read earns 0. One picture alone earns None.
    """

    def reward(
        completions: Sequence[Any], task: Sequence[str], truth: Sequence[str], id: Sequence[str], **_: Any
    ) -> list[float | None]:
        ratings: dict[str, list[tuple[int, float | None]]] = {}
        truths: dict[str, float] = {}
        for index, one in enumerate(read(completions, task, truth)):
            if number := one.task.number:
                rating = None if isinstance(one.answer, ParseFailure) else one.task.fields(one.answer)[number]
                ratings.setdefault(id[index], []).append((index, rating))
                truths[id[index]] = one.task.fields(one.truth)[number]
        given: list[float | None] = [None] * len(task)
        groups = {name: [rating for _, rating in group if rating is not None] for name, group in ratings.items()}
        for name, group in ratings.items():
            others = [other for other, values in groups.items() if other != name and values]
            for index, rating in group if others else ():
                against = [(groups[name], groups[other], _order(truths[name], truths[other])) for other in others]
                given[index] = 0.0 if rating is None else fmean(_fidelity(rating, *pair) for pair in against)
        return given

    reward.__name__ = RANK
    return reward


def _order(first: float, second: float) -> float:
    return 0.5 if first == second else float(first > second)


def _fidelity(rating: float, own: list[float], other: list[float], truth: float) -> float:
    spread = math.sqrt(pvariance(own) + pvariance(other) + 1e-6)
    above = 0.5 * (1 + math.erf((rating - fmean(other)) / spread / math.sqrt(2)))
    return math.sqrt(above * truth) + math.sqrt((1 - above) * (1 - truth))
