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
    assert TASK.earned(completion_of("why", answer), Score(3.0))["r_scr"] == 0.0


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
    think, rest = f"<think>{draw(SPACE)}so{draw(SPACE)}</think>", f"<answer>{draw(SPACE)}{answer}{draw(SPACE)}</answer>"
    return draw(SPACE) + think + draw(SPACE) + rest + draw(SPACE)


@given(st.data(), st.integers(100, 500))
def test_the_gold_answer_earns_all_in_every_layout(data: st.DataObject, hundredths: int) -> None:
    rating = hundredths / 100
    completion = data.draw(layouts(f"{rating:.2f}"))
    assert TASK.earned(completion, Score(rating)) == {"r_fmt": 1.0, "r_scr": 1.0}
    assert TASK.earned(completion_of("x", TASK.answer(Score(rating))), Score(rating)) == {"r_fmt": 1.0, "r_scr": 1.0}


@given(st.integers(100, 500), st.integers(100, 500))
def test_the_reward_is_strictly_within_epsilon(said: int, true: int) -> None:
    # Decimals know that 4.35 - 4.00 is 0.35; binary fractions think it less.
    expected = abs(Decimal(said) - Decimal(true)) / 100 < Decimal(str(EPSILON))
    reward = TASK.earned(completion_of("x", f'{{"rating": {said / 100:.2f}}}'), Score(true / 100))
    assert reward["r_scr"] == float(expected)


@pytest.mark.parametrize("true", [1.0, 1.65, 2.0, 2.34, 3.0, 4.0, 4.65])
def test_exactly_epsilon_away_earns_nothing(true: float) -> None:
    for said in (true + 0.35, true - 0.35):
        if 1 <= said <= 5:
            assert TASK.earned(completion_of("x", f'{{"rating": {said:.2f}}}'), Score(true))["r_scr"] == 0.0


def score_reward(rating: str, truth: float, epsilon: float) -> float:
    completion = completion_of("x", f'{{"rating": {rating}}}')
    return rewards(completion, parse(completion), Score(truth), epsilon)["r_scr"]


def test_epsilon_may_be_another() -> None:
    assert score_reward("3.40", 3.0, 0.5) == 1.0
    assert score_reward("3.40", 3.0, 0.4) == 0.0


@pytest.mark.parametrize(
    ("said", "truth", "reward"),
    [
        ("3.00", 3.0, 1.0),
        ("3", 3.0, 1.0),
        ("3.01", 3.0, 0.0),
        ("3.0000001", 3.0, 0.0),
        ("3.46", 3.4567, 1.0),  # the prompt asks for two decimals
        ("3.4567", 3.4567, 1.0),
        ("3.45", 3.4567, 0.0),
    ],
)
def test_epsilon_0_is_exact_match(said: str, truth: float, reward: float) -> None:
    assert score_reward(said, truth, 0.0) == reward


@pytest.mark.parametrize(
    ("said", "truth", "reward"),
    [("5.2", 5.0, 1.0), ("5.35", 5.0, 0.0), ("0.7", 1.0, 1.0), ("0.6", 1.0, 0.0), ("1e999", 5.0, 0.0)],
)
def test_eq_3_has_no_range_but_users_get_no_such_rating(said: str, truth: float, reward: float) -> None:
    completion = completion_of("x", f'{{"rating": {said}}}')
    failure = parse(completion)
    assert isinstance(failure, ParseFailure)
    assert failure.kind == "out_of_range"
    assert TASK.kept_fields(failure) == {}
    assert TASK.earned(completion, Score(truth)) == {"r_fmt": 1.0, "r_scr": reward}


def test_a_fenced_answer_is_read_and_pays_no_format_reward() -> None:
    completion = completion_of("why", '```json\n{"rating": 3.42}\n```')
    assert parse(completion) == Score(3.42, "why")
    assert TASK.earned(completion, Score(3.42)) == {"r_fmt": 0.0, "r_scr": 1.0}


@pytest.mark.parametrize(("cell", "fields"), [("3.5", {"rating": 3.5}), ("-70", {"rating": -70.0}), ("inf", None)])
def test_a_cell_of_a_table_is_a_number_on_any_scale(cell: str, fields: object) -> None:
    assert TASK.read({"rating": cell}) == (fields or {"rating": float("inf")})


@pytest.mark.parametrize("cell", ["", "nan", "good", "3,5"])
def test_a_cell_that_is_no_number_is_no_answer(cell: str) -> None:
    failure = TASK.read({"rating": cell})
    assert isinstance(failure, ParseFailure)
    assert failure.kind == "not_a_number"


@pytest.mark.parametrize("rating", [None, "3", True, 0.5, 5.5, float("nan")])
def test_a_bad_truth_is_named(rating: object) -> None:
    with pytest.raises(QInsightError, match='"rating" is'):
        TASK.truth({"rating": rating})


def test_truth_and_fields() -> None:
    assert TASK.truth({"rating": 3}) == Score(3.0)
    assert TASK.fields(Score(3.5, "x")) == {"rating": 3.5}
    assert TASK.answer(Score(3.456)) == '{"rating": 3.46}'
