from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.datasets.drawing import draw_stratified, draw_unit


def test_draws_are_even_and_depend_on_seed_and_name() -> None:
    draws = [draw_unit(0, f"name {i}") for i in range(4000)]
    assert abs(np.mean(draws) - 0.5) < 0.02
    assert Counter(int(10 * draw) for draw in draws).keys() == set(range(10))
    assert draw_unit(0, "a") == draw_unit(0, "a")
    assert len({draw_unit(0, "a"), draw_unit(1, "a"), draw_unit(0, "b")}) == 3


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60), st.integers(1, 70), st.integers(0, 3))
def test_shares_are_kept_to_one_and_order_does_not_matter(strata: list, count: int, seed: int) -> None:
    names = [f"n{i}" for i in range(len(strata))]
    drawn = draw_stratified(names, strata, count, seed)
    assert len(drawn) == min(count, len(names)) == len(set(drawn))
    assert drawn == sorted(drawn)
    if count < len(names):
        have, got = Counter(s[0] for s in strata), Counter(strata[i][0] for i in drawn)
        assert all(abs(got[part] - count * have[part] / len(names)) < 1 for part in have)
    back = draw_stratified(names[::-1], strata[::-1], count, seed)
    assert {names[i] for i in drawn} == {names[::-1][i] for i in back}


def test_a_seed_draws_others() -> None:
    names = [f"n{i}" for i in range(100)]
    assert draw_stratified(names, [()] * 100, 10, 0) != draw_stratified(names, [()] * 100, 10, 1)
