from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.data.splits import draw_stratified, draw_unit, split_by_group


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


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_split_has_its_share_keeps_groups_and_ignores_the_order(share: float) -> None:
    names = [f"picture {i}" for i in range(1000)]
    group_of = [i // 2 for i in range(1000)]
    splits = split_by_group(group_of, names, share, seed=3)
    assert all(splits[i] == splits[i + 1] for i in range(0, 1000, 2))
    assert abs(splits.count("test") / 1000 - share) < 0.06
    order = list(range(1000))
    random.Random(0).shuffle(order)
    again = split_by_group([group_of[i] for i in order], [names[i] for i in order], share, seed=3)
    assert [splits[i] for i in order] == again
    if 0 < share < 1:
        assert split_by_group(group_of, names, share, seed=4) != splits
