"""The degradation task: what is read, what is refused, and what an answer is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import ParseFailure, completion_of
from qinsight_cli.core.tasks.degradation import (
    CLASSES,
    DISTORTIONS,
    NULL,
    SEVERITIES,
    TASK,
    Degradation,
    parse,
    rewards,
)


@pytest.mark.parametrize(
    ("answer", "distortion", "severity"),
    [
        ('{"distortion_class": "noise", "severity": "slight"}', "noise", "slight"),
        ('{"severity": "serious", "distortion_class": "blur"}', "blur", "serious"),
        ("{distortion_class: Darken, severity: OBVIOUS}", "darken", "obvious"),
        ('{"distortion_class": "null", "severity": "null"}', "null", "null"),
        ('{"distortion_class": null, "severity": null}', "null", "null"),
        ('{"distortion_class": null, "severity": "NULL"}', "null", "null"),
        ('```\n{"distortion_class": "compression",\n "severity": "catastrophic"}\n```', "compression", "catastrophic"),
    ],
)
def test_accepted(answer: str, distortion: str, severity: str) -> None:
    assert parse(completion_of("why", answer)) == Degradation(distortion, severity, "why")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("noise, slight", "bad_json"),
        ('{"distortion_class": "noise"}', "missing_key"),
        ('{"severity": "slight"}', "missing_key"),
        ('{"distortion_class": "JPEG", "severity": "slight"}', "unknown_distortion"),
        ('{"distortion_class": "", "severity": "slight"}', "unknown_distortion"),
        ('{"distortion_class": "noise", "severity": "mild"}', "unknown_severity"),
        ('{"distortion_class": "noise", "severity": 3}', "unknown_severity"),
        ('{"distortion_class": "noise", "severity": null}', "inconsistent"),
        ('{"distortion_class": null, "severity": "slight"}', "inconsistent"),
        ('{"distortion_class": ["noise", "blur"], "severity": "slight"}', "bad_json"),
        ('{"distortion_class": "noise", "distortion_class": "blur", "severity": "slight"}', "several_answers"),
    ],
)
def test_refused(answer: str, kind: str) -> None:
    failure = parse(completion_of("why", answer))
    assert isinstance(failure, ParseFailure)
    assert failure.kind == kind
    for name in CLASSES:
        truth = Degradation(name, NULL if name == NULL else "slight")
        assert rewards(completion_of("why", answer), truth) | {"r_fmt": 0.0} == {
            "r_fmt": 0.0,
            "r_deg": 0.0,
            "r_lev": 0.0,
        }


TRUTHS = [*(Degradation(name, level) for name in DISTORTIONS for level in SEVERITIES), Degradation(NULL, NULL)]
SPACE = st.text(" \n\t", max_size=3)


@st.composite
def layouts(draw: st.DrawFn, truth: Degradation) -> str:
    """Every way of writing one answer that counts as the same."""
    pairs = []
    for key, word in (("distortion_class", truth.distortion), ("severity", truth.severity)):
        written = [
            word,
            f'"{word}"',
            f"'{word}'",
            f'"{word.upper()}"',
        ]  # a bare null is JSON's, a quoted one the paper's
        name = draw(st.sampled_from([key, f'"{key}"', f"'{key}'"]))
        pairs.append(f"{name}{draw(SPACE)}:{draw(SPACE)}{draw(st.sampled_from(written))}")
    pairs = draw(st.permutations(pairs))
    answer = "{" + draw(SPACE) + f"{draw(SPACE)},{draw(SPACE)}".join(pairs) + draw(SPACE) + "}"
    if draw(st.booleans()):
        answer = f"```json\n{answer}\n```"
    return (
        f"{draw(SPACE)}<think>so</think>{draw(SPACE)}<answer>{draw(SPACE)}{answer}{draw(SPACE)}</answer>{draw(SPACE)}"
    )


@given(st.data(), st.sampled_from(TRUTHS))
def test_the_gold_answer_earns_all_in_every_layout(data: st.DataObject, truth: Degradation) -> None:
    full = {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 1.0}
    assert rewards(data.draw(layouts(truth)), truth) == full
    assert rewards(completion_of("x", TASK.answer(truth)), truth) == full


@pytest.mark.parametrize("said", TRUTHS)
@pytest.mark.parametrize("truth", TRUTHS[::3])
def test_the_level_counts_only_with_the_right_class(said: Degradation, truth: Degradation) -> None:
    same_class = said.distortion == truth.distortion
    expected = {
        "r_fmt": 1.0,
        "r_deg": float(same_class),
        "r_lev": float(same_class and said.severity == truth.severity),
    }
    assert rewards(completion_of("x", TASK.answer(said)), truth) == expected


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({}, "distortion"),
        ({"distortion": "JPEG", "severity": "slight"}, "distortion"),
        ({"distortion": "noise"}, "severity"),
        ({"distortion": "noise", "severity": "null"}, "severity"),
        ({"distortion": "null", "severity": "slight"}, "severity"),
    ],
)
def test_a_bad_truth_is_named(row: dict[str, str], field: str) -> None:
    with pytest.raises(QInsightError, match=f'"{field}" is'):
        TASK.truth(row)


def test_truth_and_fields() -> None:
    assert TASK.truth({"distortion": "null", "severity": "null"}) == Degradation(NULL, NULL)
    assert TASK.fields(Degradation("blur", "slight", "x")) == {"distortion": "blur", "severity": "slight"}
    assert (TASK.weights["r_deg"], TASK.weights["r_lev"]) == (0.25, 0.75)
