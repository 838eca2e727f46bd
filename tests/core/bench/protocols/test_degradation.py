"""Table 2's averages, from counts that give the published row."""

from __future__ import annotations

from pathlib import Path

import pytest

from qinsight_cli.core.bench.figures import figures
from qinsight_cli.core.bench.protocols import degradation
from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.data.manifest import Sample

# Class -> pictures, class right, class and level right: the counts that give Q-Insight's row of Table 2.
COUNTS = {
    "noise": (226, 226, 135),
    "blur": (205, 200, 91),
    "compression": (222, 222, 123),
    "darken": (226, 204, 73),
    "null": (121, 92, 92),
}


def rows() -> tuple[list[Sample], list[RowAnswer]]:
    samples, said = [], []
    for name, (total, right, level) in COUNTS.items():
        severity = "null" if name == "null" else "serious"
        for index in range(total):
            truth = {"distortion": name, "severity": severity}
            samples.append(Sample(f"{name}{index}", "degradation", "test", "x", {"image": Path("x")}, truth))
            wrong = "blur" if name != "blur" else "noise"
            answer = {
                "distortion": name if index < right else wrong,
                "severity": severity if index < level else "slight",
            }
            said.append(RowAnswer(answer))
    return samples, said


def test_the_published_row_follows_from_its_counts() -> None:
    found = degradation.cells(degradation.hits(*rows()), 200)
    for figure in figures("2"):
        if figure.row != "Q-Insight" or figure.value is None:
            continue
        cell = found[figure.metric][figure.column]
        assert cell.value == pytest.approx(figure.value, abs=1.1e-4), figure
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low <= cell.value <= cell.high
    assert "Null" not in found["Lev. Acc."]


def test_a_level_of_another_class_is_wrong() -> None:
    sample = Sample("x", "degradation", "test", "x", {}, {"distortion": "noise", "severity": "slight"})
    found = degradation.hits([sample], [RowAnswer({"distortion": "blur", "severity": "slight"})])
    assert found.levels["noise"] == (False,)


def test_unread_answers_are_wrong_counted_and_shown() -> None:
    samples, said = rows()
    said[:3] = [RowAnswer(error="truncated")] * 3
    found = degradation.cells(degradation.hits(samples, said), 0)
    assert found["Deg. Acc."]["Noise"].value == pytest.approx(223 / 226)
    assert found["Deg. Acc."]["Average"].note == "3 of 1,000 pictures have no readable answer and count as wrong."
    counts = degradation.confusion(samples, said)
    assert counts.shape == (5, 6)
    assert counts.sum() == 1000
    assert counts[0].tolist() == [223, 0, 0, 0, 0, 3]
    assert counts[3].tolist() == [0, 22, 0, 204, 0, 0]


def test_a_class_without_a_readable_severity_counts_as_a_class() -> None:
    samples, said = rows()
    said[:3] = [RowAnswer({"distortion": "noise", "severity": None}, "unknown_severity: the severity is 'mild'")] * 3
    found = degradation.cells(degradation.hits(samples, said), 0)
    assert found["Deg. Acc."]["Noise"].value == 1.0
    assert found["Deg. Acc."]["Average"].note == ""
    assert found["Lev. Acc."]["Noise"].value == pytest.approx(132 / 226)
    words = "3 of 1,000 pictures have a class but no readable severity: it counts as wrong."
    assert found["Lev. Acc."]["Average"].note == words
    assert degradation.confusion(samples, said)[0].tolist() == [226, 0, 0, 0, 0, 0]


def test_without_rows_of_every_class_there_is_no_average() -> None:
    sample = Sample("x", "degradation", "test", "x", {}, {"distortion": "noise", "severity": "slight"})
    found = degradation.cells(degradation.hits([sample], [RowAnswer({"distortion": "noise", "severity": "slight"})]), 0)
    assert set(found["Deg. Acc."]) == {"Noise", "Average"}
    assert (found["Deg. Acc."]["Noise"].value, found["Deg. Acc."]["Average"].value) == (1.0, None)
    assert found["Deg. Acc."]["Average"].note == "No average: there are no rows of Blur, JPEG, Darken, Null."
    assert found["Lev. Acc."]["Average"].note == "No average: there are no rows of Blur, JPEG, Darken."
