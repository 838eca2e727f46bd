"""The summary after many rows: every answer counted once, and the worst ones named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from qinsight_cli.core.report.summary import WORST, Summary
from qinsight_cli.core.tasks import TASKS

RATINGS = st.lists(st.decimals(1, 5, places=4), max_size=40)


def rated(path: str, rating: Decimal) -> dict[str, Any]:
    return {"path": path, "rating": rating, "verdict": f"verdict of {path}", "error": None}


def summary_of(ratings: list[Decimal]) -> Summary:
    summary = Summary(TASKS["score"])
    for i, rating in enumerate(ratings):
        summary.add(rated(str(i), rating))
    summary.add({"path": "broken", "rating": None, "error": "no such file"})
    return summary


@given(RATINGS)
def test_counts_and_the_worst(ratings: list[Decimal]) -> None:
    summary = summary_of(ratings)
    assert summary.answered == len(ratings)
    for words, count in summary.counts():
        low, high = (Decimal(end) for end in words.split(" – "))
        assert count == sum(low <= r < high or r == high == 5 for r in ratings)
    order = sorted(range(len(ratings)), key=lambda i: (ratings[i], i))
    assert [row["path"] for row in summary.worst()] == [str(i) for i in order[:WORST]]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_and_shows_mean_bars_and_worst(width: int) -> None:
    summary = summary_of([Decimal("1.25")] * 2 + [Decimal("4.75")] * 18)
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary.shown(width))
    lines = console.export_text().splitlines()
    assert lines[0] == "20 answers, mean rating 4.40"
    bars = {line.split("–")[0].strip(): line.count("█") for line in lines if "–" in line}
    assert bars["4.5"] == 9 * bars["1.0"] or abs(bars["4.5"] / 9 - bars["1.0"]) <= 0.5
    assert max(map(len, lines)) <= width
    assert sum("1.25" in line for line in lines) == 2
    assert any("verdict of 0" in line for line in lines)


def test_words_are_counted_as_one_answer() -> None:
    summary = Summary(TASKS["degradation"])
    for word in ("serious", "serious", "slight"):
        summary.add({"path": word, "distortion": "blur", "severity": word, "verdict": "", "error": None})
    summary.add({"path": "n", "distortion": "none", "severity": "none", "verdict": "", "error": None})
    assert summary.counts() == [("serious blur", 2), ("slight blur", 1), ("none", 1)]
    assert [row["path"] for row in summary.worst()] == ["serious", "serious", "slight", "n"]
