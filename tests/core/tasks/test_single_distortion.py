"""One question per distortion: what is read, and how four answers become one."""

from __future__ import annotations

import pytest

from qinsight_cli.core.tasks.base import SYSTEM_PROMPT, ParseFailure
from qinsight_cli.core.tasks.single_distortion import DistortionSeverity, most_severe, task_for


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        ('{"severity": "serious"}', "serious"),
        ('{"severity": null}', "null"),
        ('{"severity": "null"}', "null"),
        ('{"distortion_class": "noise", "severity": "Slight"}', "slight"),
        ('{"distortion_class": "blur", "severity": "slight"}', "null"),
        ('{"distortion_class": "null", "severity": "null"}', "null"),
    ],
)
def test_what_is_read(answer: str, severity: str) -> None:
    found = task_for("noise").parse(f"<think> grain </think><answer> {answer} </answer>")
    assert found == DistortionSeverity(severity, "grain")


@pytest.mark.parametrize(
    ("completion", "kind"),
    [
        ("noise", "no_answer"),
        ("<answer>{}</answer>", "missing_key"),
        ('<answer>{"severity": "huge"}</answer>', "unknown_severity"),
        ("<answer>serious</answer>", "bad_json"),
    ],
)
def test_what_is_not(completion: str, kind: str) -> None:
    found = task_for("noise").parse(completion)
    assert isinstance(found, ParseFailure)
    assert found.kind == kind


def test_each_question_is_about_one_distortion_in_the_house_form() -> None:
    system, user = task_for("blur").messages(("image",))
    assert system["content"][0]["text"] == SYSTEM_PROMPT
    assert [part["type"] for part in user["content"]] == ["image", "text"]
    assert '"blur"' in user["content"][1]["text"]
    assert '"noise"' not in user["content"][1]["text"]


@pytest.mark.parametrize(
    ("levels", "answer"),
    [
        (("null", "null", "null", "null"), ("null", "null")),
        (("null", "slight", "null", "null"), ("blur", "slight")),
        (("slight", "serious", "moderate", "null"), ("blur", "serious")),
        (("null", "obvious", "obvious", "slight"), ("blur", "obvious")),
        (("null", "null", "null", "catastrophic"), ("darken", "catastrophic")),
    ],
)
def test_the_most_severe_wins_and_the_first_of_equals(levels: tuple[str, ...], answer: tuple[str, str]) -> None:
    assert tuple(most_severe([{"severity": level} for level in levels]).values()) == answer
