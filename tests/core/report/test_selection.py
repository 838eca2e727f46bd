"""Which rows are shown and in which order, checked against sorting and counting done anew."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.report.selection import BEST, WORST, Selection
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.degradation import SEVERITIES

SCORE, DEGRADATION = TASKS["score"], TASKS["degradation"]
RATINGS = st.lists(st.one_of(st.none(), st.integers(100, 500)), max_size=12)  # None: a row with an error


def rows_of(hundredths: list[int | None]) -> list[dict[str, Any]]:
    return [
        {"path": str(i), "rating": None if h is None else Decimal(h) / 100, "error": "broken" if h is None else None}
        for i, h in enumerate(hundredths)
    ]


@given(RATINGS, st.sampled_from([None, WORST, BEST]), st.none() | st.integers(1, 6), st.none() | st.integers(100, 500))
def test_rows_wanted(hundredths: list[int | None], first: str | None, top: int | None, limit: int | None) -> None:
    below = None if limit is None else limit / 100
    got = [row["path"] for row in Selection(first, top, below).of(SCORE, rows_of(hundredths))]
    there = [(h, i) for i, h in enumerate(hundredths) if h is not None and (limit is None or h < limit)]
    if first is not None:
        there.sort(key=lambda each: each[0] if first == WORST else -each[0])
    broken = [str(i) for i, h in enumerate(hundredths) if h is None]
    assert got == [str(i) for _, i in there][:top] + broken


def test_both_limits_leave_what_lies_strictly_between() -> None:
    got = Selection(above=2.0, below=3.0).of(SCORE, rows_of([200, 201, 299, 300]))
    assert [row["path"] for row in got] == ["1", "2"]


@pytest.mark.parametrize("first", [WORST, BEST])
def test_severities_have_an_order(first: str) -> None:
    words = ["moderate", "none", "catastrophic", "slight"]
    rows = [{"distortion": "none" if w == "none" else "blur", "severity": w, "error": None} for w in words]
    order = [row["severity"] for row in Selection(first).of(DEGRADATION, rows)]
    assert order == sorted(words, key=["none", *SEVERITIES].index, reverse=first == WORST)
