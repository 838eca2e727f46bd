"""The score task: what is read, what is refused, and what an answer is worth."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import ParseFailure, completion_of
from qinsight_cli.core.tasks.score import EPSILON, TASK, Score, parse, rewards


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ('{"rating": 3.42}', 3.42),
        ('{"rating": "3.42"}', 3.42),
        ("{rating: 3.42}", 3.42),
        ("{'rating': '3.42'}", 3.42),
        ('{"Rating": 4}', 4.0),
        ('{"rating": 1}', 1.0),
        ('{"rating": 5.00}', 5.0),
        ('{"rating": +2.5}', 2.5),
        ('{"rating": 25e-1}', 2.5),
        ('{"comment": "fine", "rating": 2.5}', 2.5),
        ('```json\n{\n  "rating": 2.5\n}\n```', 2.5),
    ],
)
def test_accepted(answer: str, rating: float) -> None:
    assert parse(completion_of("why", answer)) == Score(rating, "why")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("3.42", "bad_json"),
        ("rating: 3.50", "bad_json"),
        ('{"rating": 0.99}', "out_of_range"),
        ('{"rating": 5.01}', "out_of_range"),
        ('{"rating": 1e999}', "out_of_range"),
        ('{"rating": -3}', "out_of_range"),
        ('{"rating": nan}', "not_a_number"),
        ('{"rating": inf}', "not_a_number"),
        ('{"rating": null}', "not_a_number"),
        ('{"rating": "good"}', "not_a_number"),
        ('{"rating": "3.4/5"}', "not_a_number"),
        ('{"rating": ٣}', "not_a_number"),
        ('{"score": 3}', "missing_key"),
        ("{}", "missing_key"),
        ('{"rating": 3, "rating": 4}', "several_answers"),
        ('{"rating": [3, 4]}', "bad_json"),
        ("", "bad_json"),
    ],
)
def test_refused(answer: str, kind: str) -> None:
    failure = parse(completion_of("why", answer))
    assert isinstance(failure, ParseFailure)
    assert failure.kind == kind
    assert rewards(completion_of("why", answer), Score(3.0))["r_scr"] == 0.0


SPACE = st.text(" \n\t", max_size=3)


@st.composite
def layouts(draw: st.DrawFn, number: str) -> str:
    """Every way of writing one rating that counts as the same answer."""
    key = draw(st.sampled_from(['"rating"', "'rating'", "rating"]))
    value = draw(st.sampled_from([number, f'"{number}"', f"'{number}'"]))
    pairs = [f"{key}{draw(SPACE)}:{draw(SPACE)}{value}"]
    if draw(st.booleans()):
        pairs.insert(draw(st.integers(0, 1)), '"note": "clear"')
    answer = "{" + draw(SPACE) + f"{draw(SPACE)},{draw(SPACE)}".join(pairs) + draw(SPACE) + "}"
    if draw(st.booleans()):
        answer = f"```json\n{answer}\n```"
    think, rest = f"<think>{draw(SPACE)}so{draw(SPACE)}</think>", f"<answer>{draw(SPACE)}{answer}{draw(SPACE)}</answer>"
    return draw(SPACE) + think + draw(SPACE) + rest + draw(SPACE)


@given(st.data(), st.integers(100, 500))
def test_the_gold_answer_earns_all_in_every_layout(data: st.DataObject, hundredths: int) -> None:
    rating = hundredths / 100
    completion = data.draw(layouts(f"{rating:.2f}"))
    assert rewards(completion, Score(rating)) == {"r_fmt": 1.0, "r_scr": 1.0}
    assert rewards(completion_of("x", TASK.answer(Score(rating))), Score(rating)) == {"r_fmt": 1.0, "r_scr": 1.0}


@given(st.integers(100, 500), st.integers(100, 500))
def test_the_reward_is_strictly_within_epsilon(said: int, true: int) -> None:
    # Decimals know that 4.35 - 4.00 is 0.35; binary fractions think it less.
    expected = abs(Decimal(said) - Decimal(true)) / 100 < Decimal(str(EPSILON))
    reward = rewards(completion_of("x", f'{{"rating": {said / 100:.2f}}}'), Score(true / 100))
    assert reward["r_scr"] == float(expected)


@pytest.mark.parametrize("true", [1.0, 1.65, 2.0, 2.34, 3.0, 4.0, 4.65])
def test_exactly_epsilon_away_earns_nothing(true: float) -> None:
    for said in (true + 0.35, true - 0.35):
        if 1 <= said <= 5:
            assert rewards(completion_of("x", f'{{"rating": {said:.2f}}}'), Score(true))["r_scr"] == 0.0


def test_epsilon_may_be_another() -> None:
    completion = completion_of("x", '{"rating": 3.40}')
    assert rewards(completion, Score(3.0), epsilon=0.5)["r_scr"] == 1.0
    assert rewards(completion, Score(3.0), epsilon=0.4)["r_scr"] == 0.0


@pytest.mark.parametrize("rating", [None, "3", True, 0.5, 5.5, float("nan")])
def test_a_bad_truth_is_named(rating: object) -> None:
    with pytest.raises(QInsightError, match='"rating" is'):
        TASK.truth({"rating": rating})


def test_truth_and_fields() -> None:
    assert TASK.truth({"rating": 3}) == Score(3.0)
    assert TASK.fields(Score(3.5, "x")) == {"rating": 3.5}
    assert TASK.answer(Score(3.456)) == '{"rating": 3.46}'
