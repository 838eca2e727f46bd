"""The comparison task: what is read, what is refused, and what an answer is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import ParseFailure, completion_of
from qinsight_cli.core.tasks.comparison import TASK, WINNERS, Comparison, parse


@pytest.mark.parametrize(
    ("answer", "winner"),
    [
        ("Image A", "Image A"),
        ('"Image B"', "Image B"),
        ("“Similar”.", "Similar"),
        ("**image a**.", "Image A"),
        ("`Image\n  B`", "Image B"),
        ("SIMILAR", "Similar"),
        ("```\nImage A\n```", "Image A"),
        ("```Image A```", "Image A"),
    ],
)
def test_accepted(answer: str, winner: str) -> None:
    assert parse(completion_of("why", answer)) == Comparison(winner, "why")


@pytest.mark.parametrize(
    "answer", ["", "A", "Image C", "Image A or Image B", "Image A is better", '{"winner": "Image A"}', "ImageA", "."]
)
def test_refused(answer: str) -> None:
    failure = parse(completion_of("why", answer))
    assert isinstance(failure, ParseFailure)
    assert failure.kind == "unknown_winner"
    assert all(TASK.earned(completion_of("why", answer), Comparison(winner))["r_comp"] == 0.0 for winner in WINNERS)


SPACE = st.text(" \n\t", max_size=3)


@given(st.sampled_from(WINNERS), SPACE, SPACE, st.sampled_from(["{}", '"{}"', "'{}'", "**{}**", "{}.", "```\n{}\n```"]))
def test_the_gold_answer_earns_all_in_every_layout(winner: str, before: str, after: str, written: str) -> None:
    answer = before + written.format(winner) + after
    completion = f"{before}<think>{after}so</think>{before}<answer>{answer}</answer>{after}"
    assert TASK.earned(completion, Comparison(winner)) == {"r_fmt": 1.0, "r_comp": 1.0}
    assert TASK.earned(completion_of("x", TASK.answer(Comparison(winner))), Comparison(winner))["r_comp"] == 1.0


@pytest.mark.parametrize("said", WINNERS)
@pytest.mark.parametrize("truth", WINNERS)
def test_only_the_right_winner_earns(said: str, truth: str) -> None:
    assert TASK.earned(completion_of("x", said), Comparison(truth)) == {"r_fmt": 1.0, "r_comp": float(said == truth)}


def test_tables_are_read_and_pairs_turned_around() -> None:
    assert TASK.read({"winner": "image a"}) == {"winner": "Image A"}
    for bad in ("", "A", "Image C"):
        assert isinstance(TASK.read({"winner": bad}), ParseFailure)
    assert TASK.swapped is not None
    assert TASK.rated is not None
    assert [TASK.swapped({"winner": winner})["winner"] for winner in WINNERS] == ["Image B", "Image A", "Similar"]
    assert [TASK.rated(*pair)["winner"] for pair in ((2, 1), (1, 2), (-1, -1))] == ["Image A", "Image B", "Similar"]


def test_truth_and_fields() -> None:
    assert TASK.truth({"winner": "Similar"}) == Comparison("Similar")
    assert TASK.fields(Comparison("Image A", "x")) == {"winner": "Image A"}
    for bad in (None, "image a", "A"):
        with pytest.raises(QInsightError, match='"winner" is'):
            TASK.truth({"winner": bad})
