"""The degradation perception task: the distortion class of a picture and its severity."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import (
    IMAGE,
    ParseFailure,
    Task,
    completion_of,
    format_reward,
    known_part,
    read_pairs,
    split_completion,
    text,
)
from qinsight_cli.core.tasks.choices import Choices
from qinsight_cli.core.tasks.verdict import LEVELS, telling_sentences

# Table A, "Prompt for Degradation Perception Task", word for word.
PROMPT = (
    'Analyze the given image and determine if it contains any of the following distortions: "noise", "compression", '
    '"blur", or "darken". If a distortion is present, classify its severity as "slight", "moderate", "obvious", '
    '"serious", or "catastrophic". Return the result in JSON format with the following keys: "distortion_class": '
    'The detected distortion (or "null" if none). and "severity": The severity level (or "null" if none).'
)
NULL = "null"
# How "null" is written in files: spreadsheets and pandas take "null" and "None" for an empty cell.
NONE = "none"
DISTORTIONS = ("noise", "blur", "compression", "darken")  # the paper's tables call compression "JPEG"
CLASSES = (*DISTORTIONS, NULL)
SEVERITIES = LEVELS  # 1-5
_LEVEL = "|".join(SEVERITIES)
_NAMES = {"jpeg": "compression", NONE: NULL}  # what other tables call the classes


@dataclass(frozen=True)
class Degradation:
    """A distortion class of `CLASSES` with a severity of `SEVERITIES`; the severity of "null" is "null".

    As the partial answer of a failure it has the class, and "" for the severity.
    """

    distortion: str
    severity: str
    reasoning: str = ""


def parse(completion: str) -> Degradation | ParseFailure:
    """Completion -> Degradation, or why it could not be read.

    If only the class could be read, `partial` of the failure has it.
    """
    parts = split_completion(completion)
    if isinstance(parts, ParseFailure):
        return parts
    reasoning, answer = parts
    found, unread = read_pairs(answer)
    if unread is not None:
        once = answer.lower().count("distortion_class") == 1
        return _with_class(unread, found if once else {}, reasoning)
    for key in ("distortion_class", "severity"):
        if key not in found:
            return _with_class(ParseFailure("missing_key", f'the answer has no "{key}"'), found, reasoning)
    words = (found["distortion_class"], found["severity"])
    distortion, severity = (NULL if word is None else word.lower() for word in words)
    if distortion not in CLASSES:
        return ParseFailure("unknown_distortion", f"the distortion is {distortion!r}")
    if severity not in (*SEVERITIES, NULL):
        return _with_class(ParseFailure("unknown_severity", f"the severity is {severity!r}"), found, reasoning)
    if (distortion == NULL) != (severity == NULL):
        failure = ParseFailure("inconsistent", f"distortion {distortion!r} with severity {severity!r}")
        return _with_class(failure, found, reasoning)
    return Degradation(distortion, severity, reasoning)


def _with_class(failure: ParseFailure, found: Mapping[str, str | None], reasoning: str) -> ParseFailure:
    """The failure with the class that was read as its partial answer, if there is one."""
    word = found.get("distortion_class", "")
    distortion = NULL if word is None else word.lower()
    return replace(failure, partial=Degradation(distortion, "", reasoning) if distortion in CLASSES else None)


def rewards(completion: str, answer: Degradation | ParseFailure, truth: Degradation) -> dict[str, float]:
    """r_fmt, r_deg of Eq. 4, which needs only the class, and r_lev of Eq. 5, which needs the class right too.

    A correct "null" earns both, since it has no severity to miss.
    """
    said = known_part(answer)
    right_class = said is not None and said.distortion == truth.distortion
    right_level = right_class and said.severity == truth.severity
    return {"r_fmt": format_reward(completion), "r_deg": float(right_class), "r_lev": float(right_level)}


def truth_of(row: Mapping[str, Any]) -> Degradation:
    distortion, severity = (
        NULL if row.get(name) == NONE else str(row.get(name)) for name in ("distortion", "severity")
    )
    if distortion not in CLASSES:
        raise QInsightError(f'"distortion" is {distortion!r}; it must be one of {", ".join(CLASSES)}')
    allowed = (NULL,) if distortion == NULL else SEVERITIES
    if severity not in allowed:
        raise QInsightError(f'"severity" is {severity!r}; with distortion {distortion} it must be {", ".join(allowed)}')
    return Degradation(distortion, severity)


def read(row: Mapping[str, str]) -> dict[str, str | None] | ParseFailure:
    """A row of a table -> class and severity. A class whose severity cannot be read is kept, in `partial`."""
    distortion, severity = (_NAMES.get(cell.lower(), cell.lower()) for cell in (row["distortion"], row["severity"]))
    if distortion not in CLASSES:
        names = ", ".join((*DISTORTIONS, NONE))
        return ParseFailure("unknown_distortion", f"the distortion is {row['distortion']!r}, not one of {names}")
    if distortion == NULL and severity in ("", NULL):
        return {"distortion": NULL, "severity": NULL}
    partial = Degradation(distortion, "")
    if distortion == NULL or severity == NULL:
        detail = f"distortion {row['distortion']!r} with severity {row['severity']!r}"
        return ParseFailure("inconsistent", detail, partial)
    if severity not in SEVERITIES:
        detail = f"the severity is {row['severity']!r}, not one of {', '.join(SEVERITIES)}"
        return ParseFailure("unknown_severity", detail, partial)
    return {"distortion": distortion, "severity": severity}


def badness(fields: Mapping[str, Any]) -> float:
    """0 for a picture without distortion, then 1-5 by severity; 0.5 for a class whose severity could not be read."""
    if fields["distortion"] in (NULL, NONE):
        return 0.0
    return SEVERITIES.index(fields["severity"]) + 1.0 if fields["severity"] in SEVERITIES else 0.5


def verdict(fields: Mapping[str, Any], reasoning: str) -> str:
    """The damage that the reasoning names, else the answer in words."""
    sentences = telling_sentences(reasoning)
    if sentences or not fields.get("distortion"):
        return sentences
    if fields["distortion"] in (NULL, NONE):
        return "no distortion"
    return " ".join(str(fields[name]) for name in ("severity", "distortion") if fields.get(name))


def written(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: NONE if value == NULL else value for name, value in fields.items()}


def summarize(shares: Mapping[Degradation, float]) -> dict[str, Any]:
    """The likeliest class, and the likeliest severity among those of that class, with their probabilities."""
    by_class = {name: sum(s for answer, s in shares.items() if answer.distortion == name) for name in CLASSES}
    distortion = max(by_class, key=lambda name: by_class[name])
    of_class = {answer.severity: share for answer, share in shares.items() if answer.distortion == distortion}
    severity = max(of_class, key=lambda name: of_class[name])
    return {
        "distortion": distortion,
        "severity": severity,
        "probability": by_class[distortion],
        "severity_probability": of_class[severity] / by_class[distortion],
    }


_ALL = [Degradation(name, level) for name in DISTORTIONS for level in SEVERITIES] + [Degradation(NULL, NULL)]
CHOICES = Choices(
    opening=completion_of("", '{"distortion_class": "').removesuffix(" </answer>"),
    answers={f'{answer.distortion}", "severity": "{answer.severity}"': answer for answer in _ALL},
    summarize=summarize,
    columns=("probability", "severity_probability"),
)

TASK = Task(
    name="degradation",
    heading="Damage",
    roles=("image",),
    content=lambda roles: [IMAGE, text(PROMPT)],
    parse=parse,
    rewards=rewards,
    weights={"r_fmt": 1.0, "r_deg": 0.25, "r_lev": 0.75},  # alpha_1, alpha_2 of Sec. 4.1
    truth=truth_of,
    answer=lambda truth: json.dumps({"distortion_class": truth.distortion, "severity": truth.severity}),
    fields=lambda answer: {"distortion": answer.distortion, "severity": answer.severity},
    columns=("distortion", "severity"),
    kept=("distortion",),
    titles={"r_fmt": "format", "r_deg": "degradation class", "r_lev": "degradation level"},
    failures=("unknown_distortion", "unknown_severity", "inconsistent"),
    written=written,
    read=read,
    # Words that are alternatives at one place ("I see no ...", "I see slight ...") must weigh the same, or the model
    # learns to prefer the heavier one.
    spans={
        "distortion": re.compile(
            rf'"distortion_class": "(\w+)|\b(?:{_LEVEL}) (noise|blur|compression|darkening|artefacts)\b'
        ),
        "severity": re.compile(rf'"severity": "(\w+)|\b({_LEVEL})\b|\b(?:is|has) (no)\b'),
    },
    colours={
        NONE: "green",
        "slight": "green",
        "moderate": "yellow",
        "obvious": "dark_orange",
        "serious": "red",
        "catastrophic": "bold red",
    },
    protocol="qinsight_cli.core.bench.protocols.degradation",
    choices=CHOICES,
    verdict=verdict,
    badness=badness,
)
