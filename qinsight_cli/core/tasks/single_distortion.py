"""The degradation task with one question for each distortion, as in AgenticIR (Table 2).

The four answers of a model become one distortion and severity. The paper and AgenticIR do not say how, if the model
finds several distortions. Here the most severe one counts; among equals, the first in the order of Table 2: noise,
blur, compression, darken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qinsight_cli.core.tasks.base import IMAGE, ParseFailure, Task, format_reward, read_answer, text
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES
from qinsight_cli.core.tasks.degradation import TASK as ONE_QUESTION

_PROMPT = (
    'Analyze the given image and determine if it contains the distortion "{name}". If it is present, classify its '
    'severity as "slight", "moderate", "obvious", "serious", or "catastrophic". Return the result in JSON format with '
    'the following key: "severity": The severity level (or "null" if the distortion is not present).'
)


@dataclass(frozen=True)
class DistortionSeverity:
    """The severity of the distortion in the question; "null" if it is absent."""

    severity: str
    reasoning: str = ""


def task_for(distortion: str) -> Task:
    """The task that asks about one distortion."""
    words = _PROMPT.format(name=distortion)

    def parse(completion: str) -> DistortionSeverity | ParseFailure:
        return _parse(completion, distortion)

    return Task(
        name=f"degradation-{distortion}",
        roles=("image",),
        content=lambda roles: [IMAGE, text(words)],
        parse=parse,
        rewards=lambda completion, answer, truth: {"r_fmt": format_reward(completion)},
        weights={"r_fmt": 1.0},
        truth=lambda row: DistortionSeverity(row["severity"] if row["distortion"] == distortion else NULL),
        answer=lambda truth: f'{{"severity": "{truth.severity}"}}',
        fields=lambda answer: {"severity": answer.severity},
        columns=("severity",),
    )


def _parse(completion: str, distortion: str) -> DistortionSeverity | ParseFailure:
    """Also reads an answer in the form of Table A: one that names another distortion means that this one is absent."""
    parts = read_answer(completion, "severity")
    if isinstance(parts, ParseFailure):
        return parts
    reasoning, found = parts
    severity = (found["severity"] or NULL).lower()
    if severity not in (*SEVERITIES, NULL):
        return ParseFailure("unknown_severity", f"the severity is {severity!r}")
    if (found.get("distortion_class") or distortion).lower() != distortion:
        severity = NULL
    return DistortionSeverity(severity, reasoning)


def most_severe(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The answers' fields for `DISTORTIONS`, in that order, -> the fields of the degradation task."""
    severities = [fields["severity"] for fields in parts]
    ranks = [SEVERITIES.index(severity) if severity != NULL else -1 for severity in severities]
    worst = max(ranks)
    if worst < 0:
        return {"distortion": NULL, "severity": NULL}
    return {"distortion": DISTORTIONS[ranks.index(worst)], "severity": SEVERITIES[worst]}


TASK = replace(ONE_QUESTION, parts=tuple(map(task_for, DISTORTIONS)), combined=most_severe)
