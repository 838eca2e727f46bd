"""The degradation task: what is read, what is refused, and what an answer is worth."""

from __future__ import annotations

import io

import pandas as pd
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
    said = failure.partial.distortion if failure.partial else None
    assert (kind in ("unknown_severity", "inconsistent") or '"noise"}' in answer) == (said is not None)
    for name in CLASSES:
        truth = Degradation(name, NULL if name == NULL else "slight")
        earned = TASK.earned(completion_of("why", answer), truth)
        assert (earned["r_deg"], earned["r_lev"]) == (float(name == said), 0.0)


@pytest.mark.parametrize(
    ("severity", "kind"),
    [
        (', "severity": "mild"', "unknown_severity"),
        (', "severity": ""', "unknown_severity"),
        (', "severity": 3', "unknown_severity"),
        (', "severity": null', "inconsistent"),
        (', "severity": ["slight", "serious"]', "bad_json"),
        (', "severity": "slight", "severity": "serious"', "several_answers"),
        ("", "missing_key"),
    ],
)
def test_eq_4_looks_at_the_class_alone(severity: str, kind: str) -> None:
    completion = completion_of("why", f'{{"distortion_class": "noise"{severity}}}')
    failure = parse(completion)
    assert isinstance(failure, ParseFailure)
    assert failure.kind == kind
    assert TASK.earned(completion, Degradation("noise", "slight")) == {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 0.0}
    assert TASK.earned(completion, Degradation("blur", "slight")) == {"r_fmt": 1.0, "r_deg": 0.0, "r_lev": 0.0}
    assert TASK.kept_fields(failure) == {"distortion": "noise", "severity": None}
    assert failure.partial.reasoning == "why"


def test_null_with_a_severity_is_the_class_null() -> None:
    completion = completion_of("why", '{"severity": "slight", "distortion_class": "null"}')
    assert TASK.earned(completion, Degradation(NULL, NULL)) == {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 0.0}


def test_two_classes_are_no_class() -> None:
    for twice in ('"noise", "severity": 3, "distortion_class": "blur"', '["noise"], "distortion_class": "blur"'):
        completion = completion_of("why", f'{{"distortion_class": {twice}}}')
        assert TASK.earned(completion, Degradation("noise", "slight"))["r_deg"] == 0.0
        assert TASK.earned(completion, Degradation("blur", "slight"))["r_deg"] == 0.0


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
    return (
        f"{draw(SPACE)}<think>so</think>{draw(SPACE)}<answer>{draw(SPACE)}{answer}{draw(SPACE)}</answer>{draw(SPACE)}"
    )


@given(st.data(), st.sampled_from(TRUTHS))
def test_the_gold_answer_earns_all_in_every_layout(data: st.DataObject, truth: Degradation) -> None:
    full = {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 1.0}
    assert TASK.earned(data.draw(layouts(truth)), truth) == full
    assert TASK.earned(completion_of("x", TASK.answer(truth)), truth) == full


@pytest.mark.parametrize("said", TRUTHS)
@pytest.mark.parametrize("truth", TRUTHS[::3])
def test_the_level_counts_only_with_the_right_class(said: Degradation, truth: Degradation) -> None:
    same_class = said.distortion == truth.distortion
    expected = {
        "r_fmt": 1.0,
        "r_deg": float(same_class),
        "r_lev": float(same_class and said.severity == truth.severity),
    }
    assert TASK.earned(completion_of("x", TASK.answer(said)), truth) == expected


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


@pytest.mark.parametrize(
    ("cells", "fields"),
    [
        (("Noise", "Slight"), ("noise", "slight")),
        (("JPEG", "serious"), ("compression", "serious")),
        (("none", "none"), (NULL, NULL)),
        (("null", "null"), (NULL, NULL)),
        (("none", ""), (NULL, NULL)),  # nothing has no severity
    ],
)
def test_a_row_of_a_table_is_read(cells: tuple[str, str], fields: tuple[str, str]) -> None:
    row = dict(zip(("distortion", "severity"), cells, strict=True))
    assert TASK.read(row) == dict(zip(("distortion", "severity"), fields, strict=True))


@pytest.mark.parametrize(
    ("cells", "kind", "kept"),
    [
        (("", ""), "unknown_distortion", None),
        (("", "none"), "unknown_distortion", None),
        (("fog", "slight"), "unknown_distortion", None),
        (("noise", ""), "unknown_severity", "noise"),
        (("noise", "much"), "unknown_severity", "noise"),
        (("noise", "none"), "inconsistent", "noise"),
        (("none", "slight"), "inconsistent", NULL),
    ],
)
def test_a_row_without_an_answer_says_why(cells: tuple[str, str], kind: str, kept: str | None) -> None:
    failure = TASK.read(dict(zip(("distortion", "severity"), cells, strict=True)))
    assert isinstance(failure, ParseFailure)
    assert failure.kind == kind
    assert TASK.kept_fields(failure).get("distortion") == kept


@pytest.mark.parametrize("truth", TRUTHS)
def test_what_is_written_reads_back_everywhere(truth: Degradation) -> None:
    written = TASK.written(TASK.fields(truth))
    text = "distortion,severity\n" + ",".join(written.values()) + "\n"
    table = pd.read_csv(io.StringIO(text))
    assert not table.isna().any(axis=None)  # pandas takes "null" and "None" for an empty cell
    assert TASK.read(dict(table.iloc[0])) == TASK.fields(truth)
    assert TASK.truth(written) == TASK.truth(TASK.fields(truth)) == truth


def test_truth_and_fields() -> None:
    assert TASK.truth({"distortion": "null", "severity": "null"}) == Degradation(NULL, NULL)
    assert TASK.fields(Degradation("blur", "slight", "x")) == {"distortion": "blur", "severity": "slight"}
    assert (TASK.weights["r_deg"], TASK.weights["r_lev"]) == (0.25, 0.75)
