"""The degradation perception task: the distortion class of a picture and its severity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import IMAGE, ParseFailure, Task, format_reward, read_object, split_completion, text

# Table A, "Prompt for Degradation Perception Task", to the letter.
PROMPT = (
    'Analyze the given image and determine if it contains any of the following distortions: "noise", "compression", '
    '"blur", or "darken". If a distortion is present, classify its severity as "slight", "moderate", "obvious", '
    '"serious", or "catastrophic". Return the result in JSON format with the following keys: "distortion_class": '
    'The detected distortion (or "null" if none). and "severity": The severity level (or "null" if none).'
)
NULL = "null"
DISTORTIONS = ("noise", "blur", "compression", "darken")  # the paper's tables call compression "JPEG"
CLASSES = (*DISTORTIONS, NULL)
SEVERITIES = ("slight", "moderate", "obvious", "serious", "catastrophic")  # levels 1-5


@dataclass(frozen=True)
class Degradation:
    """A distortion class of `CLASSES` with a severity of `SEVERITIES`; the severity of "null" is "null"."""

    distortion: str
    severity: str
    reasoning: str = ""


def parse(completion: str) -> Degradation | ParseFailure:
    """Completion -> Degradation, or why it could not be read."""
    parts = split_completion(completion)
    if isinstance(parts, ParseFailure):
        return parts
    reasoning, answer = parts
    found = read_object(answer)
    if isinstance(found, ParseFailure):
        return found
    for key in ("distortion_class", "severity"):
        if key not in found:
            return ParseFailure("missing_key", f'the answer has no "{key}"')
    words = (found["distortion_class"], found["severity"])
    distortion, severity = (NULL if word is None else word.lower() for word in words)
    if distortion not in CLASSES:
        return ParseFailure("unknown_distortion", f"the distortion is {distortion!r}")
    if severity not in (*SEVERITIES, NULL):
        return ParseFailure("unknown_severity", f"the severity is {severity!r}")
    if (distortion == NULL) != (severity == NULL):
        return ParseFailure("inconsistent", f"distortion {distortion!r} with severity {severity!r}")
    return Degradation(distortion, severity, reasoning)


def rewards(completion: str, truth: Degradation) -> dict[str, float]:
    """r_fmt, r_deg of Eq. 4 and r_lev of Eq. 5. A correct "null" earns both, since it has no severity to miss."""
    answer = parse(completion)
    right_class = isinstance(answer, Degradation) and answer.distortion == truth.distortion
    right_level = isinstance(answer, Degradation) and right_class and answer.severity == truth.severity
    return {"r_fmt": format_reward(completion), "r_deg": float(right_class), "r_lev": float(right_level)}


def truth_of(row: Mapping[str, Any]) -> Degradation:
    distortion, severity = str(row.get("distortion")), str(row.get("severity"))
    if distortion not in CLASSES:
        raise QInsightError(f'"distortion" is {distortion!r}; it must be one of {", ".join(CLASSES)}')
    allowed = (NULL,) if distortion == NULL else SEVERITIES
    if severity not in allowed:
        raise QInsightError(f'"severity" is {severity!r}; with distortion {distortion} it must be {", ".join(allowed)}')
    return Degradation(distortion, severity)


TASK = Task(
    name="degradation",
    roles=("image",),
    content=lambda roles: [IMAGE, text(PROMPT)],
    parse=parse,
    rewards=rewards,
    weights={"r_fmt": 1.0, "r_deg": 0.25, "r_lev": 0.75},  # alpha_1, alpha_2 of Sec. 4.1
    truth=truth_of,
    answer=lambda truth: json.dumps({"distortion_class": truth.distortion, "severity": truth.severity}),
    fields=lambda answer: {"distortion": answer.distortion, "severity": answer.severity},
)
