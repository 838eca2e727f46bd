"""One answer from several samples: the mean of numbers, the majority of words."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.tasks.base import ParseFailure, Task

if TYPE_CHECKING:
    from qinsight_cli.core.inference.assess import Result


@dataclass(frozen=True)
class AggregatedAnswer:
    """The combined answer of the samples of one question.

    fields     column -> value, as `Task.fields`; a number is the mean over the readable samples. With an error: what
               the task keeps of an unreadable answer, and None for the rest
    std        sample standard deviation (ddof 1) of that number, or the standard deviation of the mixture of the
               distributions that were read; None for words, and for fewer than two samples without distributions
    parsed     how many samples were readable
    reasoning  of the sample nearest to the mean, or of the first sample that agrees with the majority
    error      why there is no answer: "kind: detail" of the first sample; None if there is an answer
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    std: float | None = None
    parsed: int = 0
    reasoning: str = ""
    error: str | None = None


def aggregate(task: Task, result: Result) -> AggregatedAnswer:
    """The result of one question -> its combined answer."""
    if result.error is not None:
        return AggregatedAnswer(error=result.error)
    return aggregate_answers(task, result.answers, result.distributions)


def aggregate_answers(
    task: Task, answers: Sequence[Any], distributions: Sequence[Mapping[str, Any] | None] = ()
) -> AggregatedAnswer:
    """The answers and ParseFailures of one question -> its combined answer. `distributions` are those that the answers
    were read from, if any. A tie between words goes to the first."""
    read = [answer for answer in answers if not isinstance(answer, ParseFailure)]
    if not read:
        return _failed(task, answers)
    fields = [task.fields(answer) for answer in read]
    if task.number:
        spreads = [
            distribution[f"{task.number}_std"]
            for answer, distribution in zip(answers, distributions, strict=bool(distributions))
            if distribution is not None and not isinstance(answer, ParseFailure)
        ]
        return _mean(read, fields, spreads)
    winner = Counter(tuple(each.items()) for each in fields).most_common(1)[0][0]
    first = next(answer for answer, each in zip(read, fields, strict=True) if tuple(each.items()) == winner)
    return AggregatedAnswer(dict(winner), parsed=len(read), reasoning=first.reasoning)


def _failed(task: Task, answers: Sequence[ParseFailure]) -> AggregatedAnswer:
    if not answers:
        return AggregatedAnswer(error="no_answer: the model was not asked")
    fields = task.kept_fields(answers[0])
    return AggregatedAnswer(fields, reasoning=answers[0].partial.reasoning if fields else "", error=str(answers[0]))


def _mean(read: Sequence[Any], fields: Sequence[Mapping[str, float]], spreads: Sequence[float]) -> AggregatedAnswer:
    """For tasks whose answer is one number. `spreads` are the standard deviations of the answers, if they have any."""
    (name,) = fields[0]
    values = [each[name] for each in fields]
    mean = statistics.fmean(values)
    nearest = min(range(len(values)), key=lambda i: abs(values[i] - mean))
    std = statistics.stdev(values) if len(values) > 1 else None
    if spreads:
        std = math.sqrt(statistics.pvariance(values) + statistics.fmean(spread**2 for spread in spreads))
    return AggregatedAnswer({name: mean}, std, len(read), read[nearest].reasoning)
