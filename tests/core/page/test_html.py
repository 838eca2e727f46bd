"""Answers as HTML: what is written so far, the chart and its words, nothing of a model or a name as markup."""

from __future__ import annotations

import re

import pytest

from qinsight_cli.core.page.asking import Answered
from qinsight_cli.core.page.html import answer_html, heights, picture_html, reasoning_so_far, spoken
from qinsight_cli.core.report.gallery.cards import Card
from qinsight_cli.core.tasks import TASKS

HOSTILE = "<script>alert(1)</script>${1+1}\0\udc80"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("<thi", ""),
        ("<think> It is", "It is"),
        ("<think> It is sharp. </th", "It is sharp."),
        ("<think> It is sharp. </think><answer> {", "It is sharp."),
        ("It is sharp. <answer> {", "It is sharp."),
        ("<think> a < b", "a < b"),
    ],
)
def test_what_is_shown_of_an_unfinished_completion(text: str, shown: str) -> None:
    assert reasoning_so_far(text) == shown


def test_the_chart_has_a_bar_for_each_tenth() -> None:
    found = heights({1.0: 0.1, 3.4: 0.5, 3.5: 0.25, 5.0: 0.15})
    assert len(found) == 41
    assert {place: height for place, height in enumerate(found) if height} == pytest.approx(
        {0: 0.2, 24: 1.0, 25: 0.5, 40: 0.3}
    )
    assert heights({}) == []


def test_the_chart_in_words() -> None:
    said = spoken({1.0: 0.1, 3.4: 0.5, 3.5: 0.25, 5.0: 0.148, 1.5: 0.002})
    assert said == "Distribution of the rating: excellent 15 %, good 25 %, fair 50 %, bad 10 %"
    assert spoken({}) == ""


def test_an_answer() -> None:
    card = Card((), 3.456, 0.5, verdict="good quality", reasoning="Sharp.")
    html = answer_html(TASKS["score"], Answered(card, {3.0: 0.5, 4.0: 0.5}))
    assert 'aria-busy="false"' in html
    assert re.search(r"<b>3\.46</b> of 5 <span[^>]*>± 0\.50</span>", html)
    assert html.count("<i ") == 41
    assert 'aria-label="Distribution of the rating: good 50 %, fair 50 %"' in html
    assert "good quality" in html
    assert "Sharp." in html
    words = answer_html(TASKS["degradation"], Answered(Card((), said="serious blur"), chances={"probability": 0.813}))
    assert "serious blur" in words
    assert "probability 81 %" in words
    assert "<i " not in words


def test_a_verdict_that_is_the_whole_reasoning_is_said_once() -> None:
    card = Card((), said="Image A is better", verdict="B has noise.", reasoning="B has noise.")
    assert answer_html(TASKS["comparison"], Answered(card)).count("B has noise.") == 1


def test_an_error_is_its_line_alone() -> None:
    html = answer_html(TASKS["score"], Answered(Card((), error="no_answer: nothing")))
    assert "no_answer: nothing" in html
    assert "of 5" not in html


def test_nothing_of_a_model_or_a_name_is_markup() -> None:
    card = Card((), 3.0, verdict=HOSTILE, reasoning=HOSTILE + ".")
    shown = [
        answer_html(TASKS["score"], Answered(card)),
        answer_html(TASKS["score"], HOSTILE),
        answer_html(TASKS["score"], Answered(Card((), error=HOSTILE))),
        picture_html(f'{HOSTILE}" onload="x', ""),
    ]
    for html in shown:
        assert "<script" not in html
        assert "\0" not in html
        assert ' onload="' not in html
        html.encode()
