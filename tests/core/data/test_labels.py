from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.data.labels import Label, Labelled, Scale, extremes, number, rating, stem, unique
from qinsight_cli.core.errors import QInsightError

TEN = Scale(0.0, 10.0)
FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(("text", "value"), [("3.5", 3.5), (" 10 ", 10.0), (0, 0.0), ("1e0", 1.0)])
def test_numbers(text: object, value: float) -> None:
    assert number(text, TEN, "t.csv, line 2", "a.png") == value


@pytest.mark.parametrize("text", ["", "good", None, "nan", math.nan, "inf", "-inf", [], "3,5"])
def test_what_is_not_a_number(text: object) -> None:
    with pytest.raises(QInsightError, match=r"^t\.csv, line 2: the label of 'a\.png' is .*, not a number"):
        number(text, TEN, "t.csv, line 2", "a.png")


@pytest.mark.parametrize("text", ["10.001", -1])
def test_what_is_outside_the_scale(text: object) -> None:
    with pytest.raises(QInsightError, match=r"outside \[0, 10\]"):
        number(text, TEN, "t.csv, line 2", "a.png")


@given(FINITE, FINITE, FINITE)
def test_ratings_are_on_1_to_5_and_keep_or_turn_the_order(a: float, b: float, c: float) -> None:
    lowest, value, highest = sorted((a, b, c))
    if highest - lowest < 1e-3:
        return
    up, down = rating(value, lowest, highest), rating(value, lowest, highest, higher_better=False)
    assert 1.0 <= up <= 5.0
    assert up == pytest.approx(4 * (value - lowest) / (highest - lowest) + 1, abs=1e-4)
    assert up + down == pytest.approx(6.0, abs=2e-4)
    assert rating(lowest, lowest, highest) == 1.0
    assert rating(highest, lowest, highest) == 5.0


def label(name: str, raw: float) -> Label:
    return Label(name, {"image": name}, raw, f"t.csv, {name}")


def test_extremes(tmp_path) -> None:
    labels = [label("a", 3.0), label("b", 7.0)]
    assert extremes(Labelled("x", "score", tmp_path, labels, TEN)) == (3.0, 7.0)
    assert extremes(Labelled("x", "score", tmp_path, labels, Scale(0.0, 10.0, exact=True))) == (0.0, 10.0)
    with pytest.raises(QInsightError, match="all 1 labels are the same"):
        extremes(Labelled("x", "score", tmp_path, labels[:1], TEN))


def test_an_id_that_stands_twice() -> None:
    assert len(unique([label("a", 1.0), label("b", 1.0)])) == 2
    with pytest.raises(QInsightError, match=r"^t\.csv, a: 'a' is labelled twice, first in t\.csv, a; remove one"):
        unique([label("a", 1.0), label("b", 1.0), label("a", 2.0)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.png", "a"), ("x/y/a.b.png", "a.b"), ("x\\a.png", "a"), ("a", "a"), ("1600.AWGN.1.png", "1600.AWGN.1")],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected


@pytest.mark.parametrize(("text", "expected"), [("1.0000000001", 1.0), ("-1e-9", 0.0), ("0.9999999999", 0.9999999999)])
def test_a_label_that_misses_an_end_by_rounding_is_that_end(text: str, expected: float) -> None:
    assert number(text, Scale(0.0, 1.0), "t.csv, line 2", "a.png") == expected


@pytest.mark.parametrize("text", ["1.00001", "-0.00001", "9" * 400, 10**400])
def test_a_label_outside_is_an_error(text: object) -> None:
    with pytest.raises(QInsightError, match=r"t\.csv, line 2: the label of 'a\.png' is"):
        number(text, Scale(0.0, 1.0), "t.csv, line 2", "a.png")
