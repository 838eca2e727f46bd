"""Answers read off the model's probabilities: when they are read, what the journal keeps, what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qinsight_cli.core.engines import Completion, Decoding, Engine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import ParseFailure, Task
from qinsight_cli.core.tasks.choices import LEAST_MASS, NOTED_MASS, Choices

Distribution = Mapping[str, Any]  # `Choices.summary` of the probabilities of one completion


def choices_of(task: Task, engine: Engine, decoding: Decoding) -> Choices | None:
    """The choices whose probabilities this decoding reads; None when answers are read as they are written.

    Raises QInsightError when the task has none, or the engine cannot give their probabilities.
    """
    direct = decoding.mode == "direct"
    if not direct and (decoding.rating == "answer" or task.choices is None or task.choices.place is None):
        return None
    if task.choices is None:
        raise QInsightError(f"the task {task.name} can only be asked for a written answer: leave out --mode direct")
    if not engine.reads_choices:
        model = engine.identity.get("model", "this model")
        raise QInsightError(f"{model} gives no probabilities: use --mode reasoned and --rating answer")
    return task.choices


def summaries(completions: Sequence[Completion], choices: Choices | None) -> dict[str, Any]:
    """The part of a journal record that keeps the distributions; empty when answers are read as they are written."""
    if choices is None:
        return {}
    read = [each.probabilities for each in completions]
    return {"distributions": [None if each is None else choices.summary(each) for each in read]}


def answers_of(
    task: Task, written: Sequence[Any], distributions: Sequence[Distribution | None], direct: bool
) -> tuple[Any, ...]:
    """The answers of the distributions in the place of those `written`; where these could not be read, their failure.

    With `direct` nothing was written.
    """
    return tuple(
        _likeliest(task, distribution, "" if direct else answer.reasoning)
        if direct or not isinstance(answer, ParseFailure)
        else answer
        for answer, distribution in zip(written, distributions, strict=True)
    )


def _likeliest(task: Task, distribution: Distribution | None, reasoning: str) -> Any:
    """What a distribution says, as an answer."""
    if distribution is None or distribution["mass"] < LEAST_MASS:
        mass = 0.0 if distribution is None else distribution["mass"]
        return ParseFailure("no_distribution", f"only {mass:.0%} of the probability lies on answers of the task")
    return replace(task.truth(distribution), reasoning=reasoning)


def notes_of(distributions: Iterable[Distribution | None]) -> list[str]:
    """A note when much of the probability lies on what is no answer."""
    masses = [distribution["mass"] for distribution in distributions if distribution is not None]
    if not masses or min(masses) >= NOTED_MASS:
        return []
    return [f"{1 - min(masses):.0%} of the probability lies on what is no answer of the task"]
