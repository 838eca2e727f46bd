"""Answers from the model's probabilities: when they are read, what the journal keeps of them, and the answers."""

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
    """The choices whose probabilities this decoding reads; None if answers are read as written.

    Raises QInsightError if the task has no choices, or the engine cannot give their probabilities.
    """
    direct = decoding.mode == "direct"
    if not direct and (decoding.rating == "answer" or task.choices is None or task.choices.place is None):
        return None
    if task.choices is None:
        raise QInsightError(f"the task {task.name} has only written answers: leave out --mode direct")
    if not engine.reads_choices:
        model = engine.identity.get("model", "this model")
        raise QInsightError(f"{model} gives no probabilities: use --mode reasoned and --rating answer")
    return task.choices


def summaries(completions: Sequence[Completion], choices: Choices | None) -> dict[str, Any]:
    """The part of a journal record with the distributions; empty if answers are read as written."""
    if choices is None:
        return {}
    read = [each.probabilities for each in completions]
    return {"distributions": [None if each is None else choices.summary(each) for each in read]}


def expected_answers(
    task: Task, written: Sequence[Any], distributions: Sequence[Distribution | None], direct: bool
) -> tuple[Any, ...]:
    """The answers of the distributions, in place of the `written` ones. An unreadable written answer stays a failure,
    unless `direct`: then nothing was written."""
    return tuple(
        _likeliest(task, distribution, "" if direct else answer.reasoning)
        if direct or not isinstance(answer, ParseFailure)
        else answer
        for answer, distribution in zip(written, distributions, strict=True)
    )


def _likeliest(task: Task, distribution: Distribution | None, reasoning: str) -> Any:
    """The answer of a distribution."""
    if distribution is None or distribution["mass"] < LEAST_MASS:
        mass = 0.0 if distribution is None else distribution["mass"]
        return ParseFailure("no_distribution", f"only {mass:.0%} of the probability is on answers of the task")
    return replace(task.truth(distribution), reasoning=reasoning)


def notes_of(distributions: Iterable[Distribution | None]) -> list[str]:
    """A note if much of the probability is on other texts than answers."""
    masses = [distribution["mass"] for distribution in distributions if distribution is not None]
    if not masses or min(masses) >= NOTED_MASS:
        return []
    return [f"{1 - min(masses):.0%} of the probability is on texts that are no answer of the task"]
