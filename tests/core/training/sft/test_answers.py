"""The target texts of talk phases, their token weights, and ratings as distributions."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from qinsight_cli.core.data.reasoning import CLEAN, damage_sentence, describe_damage, describe_pair
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.sft.answers import digit_columns, draw_rating, token_weights
from sft_recipe import gaussian


def test_token_weights_mark_the_tokens_that_carry_the_answer(processor: Any) -> None:
    weights = {"rating": 8.0, "distortion": 6.0, "severity": 10.0}
    completion = '<think> There is slight noise: grain shows. </think><answer> {"rating": 3.42} </answer>'
    tokens = processor.tokenizer(completion, return_offsets_mapping=True)["offset_mapping"]
    values = token_weights(completion, processor.tokenizer, weights)
    heavy: dict[float, set[int]] = {}
    for value, (start, end) in zip(values, tokens, strict=True):
        heavy.setdefault(value, set()).update(range(start, end))
    for word, weight in (("3.42", 8.0), ("noise", 6.0), ("slight", 10.0)):
        start = completion.index(word)
        assert set(range(start, start + len(word))) <= heavy[weight]
    assert completion.index("grain") in heavy[1.0]


@pytest.mark.parametrize(
    ("said", "heavy"),
    [
        (CLEAN, ["no"]),
        (damage_sentence("blur", "slight"), ["slight", "blur"]),
        (damage_sentence("darken", "catastrophic"), ["catastrophic", "darkening"]),
        (
            describe_pair(describe_damage("null", "null"), describe_damage("noise", "serious")),
            ["no", "serious", "noise"],
        ),
    ],
)
def test_alternatives_at_one_place_weigh_the_same(processor: Any, said: str, heavy: list[str]) -> None:
    weights = {"severity": 10.0, "distortion": 10.0}
    offsets = processor.tokenizer(said, return_offsets_mapping=True)["offset_mapping"]
    values = token_weights(said, processor.tokenizer, weights)
    marked = "".join(said[a:b] if value == 10.0 else "|" for (a, b), value in zip(offsets, values, strict=True))
    assert marked.replace("|", " ").split() == heavy


@pytest.mark.parametrize(("rating", "spread"), [(3.42, 0.4), (1.0, 0.4), (4.93, 0.2)])
def test_digits_have_the_chances_of_a_gaussian(rating: float, spread: float) -> None:
    expected = gaussian(rating, spread)
    rng = np.random.default_rng(0)
    drawn: Counter[str] = Counter()
    decimals: dict[str, Any] = {}
    for _ in range(4000):
        value, (first, decimal) = draw_rating(rating, spread, rng)
        name = f"{value:.1f}"
        drawn[name] += 1
        decimals[name[0]] = decimal
    for digit in range(10):
        of_digit = sum(chance for name, chance in expected.items() if name.startswith(str(digit)))
        assert first[digit] == pytest.approx(of_digit, abs=1e-9)
    for digit, decimal in decimals.items():
        assert decimal.sum() == pytest.approx(1)
        for name, chance in expected.items():
            if name.startswith(digit):  # the chance of the first digit times that of the decimal after it
                assert first[int(digit)] * decimal[int(name[2])] == pytest.approx(chance, abs=1e-9)
    for name, chance in expected.items():
        # Four standard errors of a share of 4,000 draws.
        assert abs(drawn[name] / 4000 - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000) + 1e-9


def test_digit_columns_point_at_the_digits_of_the_rating(processor: Any) -> None:
    tokenizer = processor.tokenizer
    completion = '<think> 1.5 of 2.5 </think><answer> {"rating": 3.70} </answer><|im_end|>'
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    columns = digit_columns(completion, tokenizer, TASKS["score"].digits)
    assert [tokenizer.decode([ids[column]]) for column in columns] == ["3", "7"]
    assert tokenizer.decode(ids[columns[0] : columns[1] + 1]) == "3.7"


def test_a_tokenizer_that_joins_digits_is_refused() -> None:
    def joined(completion: str, **_: Any) -> dict[str, Any]:
        start = completion.index("3.70")
        return {"offset_mapping": [(start, start + 4)]}

    with pytest.raises(QInsightError, match="each digit of a rating"):
        digit_columns('{"rating": 3.70}', joined, TASKS["score"].digits)
