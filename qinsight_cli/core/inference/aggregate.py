"""One answer from several samples: the mean of numbers, the majority of words."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qinsight_cli.core.tasks.base import ParseFailure, Task


@dataclass(frozen=True)
class AggregatedAnswer:
    """The combined answer of the samples of one question.

    fields     column -> value, as `Task.fields`; a number is the mean over the samples that could be read
    std        sample standard deviation (ddof 1) of that number; None for words, or when fewer than two could be read.
               Where distributions were read: that of the mixture of their distributions
    parsed     how many samples could be read
    reasoning  of the sample nearest to the mean, or of the first sample that agrees with the majority
    error      why there is no answer, "kind: detail" of the first sample; None when there is one. `fields` then
               has what the task keeps of such an answer, and None for the rest
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    std: float | None = None
    parsed: int = 0
    reasoning: str = ""
    error: str | None = None


def aggregate_answers(
    task: Task, answers: Sequence[Any], distributions: Sequence[Mapping[str, Any] | None] = ()
) -> AggregatedAnswer:
    """Answers and ParseFailures of one question, and the distributions that they were read from, if they were -> one.

    A tie between words goes to the one seen first.
    """
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
    """For tasks whose answer is one number; `spreads` are the standard deviations of the answers, if they have any."""
    (name,) = fields[0]
    values = [each[name] for each in fields]
    mean = statistics.fmean(values)
    nearest = min(range(len(values)), key=lambda i: abs(values[i] - mean))
    std = statistics.stdev(values) if len(values) > 1 else None
    if spreads:
        std = math.sqrt(statistics.pvariance(values) + statistics.fmean(spread**2 for spread in spreads))
    return AggregatedAnswer({name: mean}, std, len(read), read[nearest].reasoning)
