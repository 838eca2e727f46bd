from __future__ import annotations

import io
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from qinsight_cli.core.data.near_duplicates import (
    LARGE,
    NEAR,
    difference_hash,
    near_duplicate_groups,
    near_duplicate_pairs,
    taken_apart,
)

BITS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 255), max_size=12)


def differing(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_each_bit_is_a_cell_brighter_than_its_right_neighbour() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    hashed = difference_hash(Image.fromarray(cells).resize((90, 80), Image.Resampling.NEAREST))
    for row, column in itertools.product(range(8), range(8)):
        bit = hashed >> (63 - (8 * row + column)) & 1
        assert bit == (cells[row, column] > cells[row, column + 1])


def test_other_sizes_and_files_of_a_photo_are_near_and_other_photos_are_not(photos) -> None:
    names = ("astronaut", "chelsea", "coffee", "rocket")
    hashes = []
    for name in names:
        image = Image.fromarray(photos(name))
        hashes.append(difference_hash(image))
        buffer = io.BytesIO()
        image.resize((image.width // 2, image.height // 2)).save(buffer, "JPEG", quality=30)
        assert differing(hashes[-1], difference_hash(Image.open(buffer))) <= NEAR
    assert all(differing(a, b) > NEAR for a, b in itertools.combinations(hashes, 2))


@settings(deadline=None)
@given(BITS, st.integers(0, 20))
def test_groups_are_the_connected_parts(hashes: list[int], near: int) -> None:
    found = near_duplicate_groups(hashes, near)
    reached = {i: {i} for i in range(len(hashes))}
    for _ in hashes:  # by brute force: neighbours of neighbours until nothing changes
        for i in reached:
            reached[i] |= {k for j in reached[i] for k in range(len(hashes)) if differing(hashes[j], hashes[k]) <= near}
    for i, j in itertools.combinations(range(len(hashes)), 2):
        assert (found[i] == found[j]) == (j in reached[i])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 63), st.sampled_from("abc")), max_size=12))
def test_pairs_across_by_brute_force(rows: list[tuple[int, str]]) -> None:
    hashes, sides = [row[0] for row in rows], [row[1] for row in rows]
    expected = [
        (i, j, differing(hashes[i], hashes[j]))
        for i, j in itertools.combinations(range(len(rows)), 2)
        if sides[i] != sides[j] and differing(hashes[i], hashes[j]) <= NEAR
    ]
    assert near_duplicate_pairs(hashes, sides) == expected


def series(count: int, first: int = 0) -> list[int]:
    """Hashes that are each one bit from the one before: a chain whose ends are far apart."""
    found, value = [first], first
    for step in range(count - 1):
        value ^= 1 << (step % 64)
        found.append(value)
    return found


@pytest.mark.parametrize("picture", ["flat", "object on white"])
def test_a_hash_without_information_is_none(picture: str) -> None:
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    if picture != "flat":
        for y in range(110, 190, 5):
            pen.rectangle((150, y, 240, y + 4), (y % 250, 90, 255 - y % 250))
    assert difference_hash(image) is None
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    assert difference_hash(Image.fromarray(noise)) is not None


def test_pictures_without_a_hash_are_like_none() -> None:
    assert len(set(near_duplicate_groups([None, None, 5, 5, None]))) == 4
    assert near_duplicate_pairs([None, None, 5, 5], ["a", "b", "a", "b"]) == [(2, 3, 0)]


def test_likeness_is_not_chained_without_bound() -> None:
    kept, long = series(LARGE), series(LARGE + 1, 0xFFFF << 40)
    rng = np.random.default_rng(0)
    others = [int(one) for one in rng.integers(0, 2**63, 20)]
    hashes = kept + long + others
    groups = near_duplicate_groups(hashes)
    assert len(set(groups[:LARGE])) == 1, "a series of one scene stays together"
    sizes = [groups.count(group) for group in set(groups[LARGE : 2 * LARGE + 1])]
    assert max(sizes) <= LARGE
    assert len(set(groups)) >= 20 + 1 + 2
    assert taken_apart(hashes) == [list(range(LARGE, 2 * LARGE + 1))]


def test_equal_hashes_of_too_many_pictures_keep_nobody_together() -> None:
    assert len(set(near_duplicate_groups([7] * (LARGE + 1)))) == LARGE + 1
    assert len(set(near_duplicate_groups([7] * LARGE))) == 1
    assert near_duplicate_pairs([7] * (LARGE + 1), ["a", "b"] * ((LARGE + 1) // 2) + ["a"]) == []


@pytest.mark.parametrize("kind", ["random", "groups of five", "all near one another"])
def test_time_is_near_linear(kind: str) -> None:
    """50,000 hashes in a minute on two cores; here in processor time, that others at work do not count."""
    rng = np.random.default_rng(1)
    hashes = {
        "random": rng.integers(0, 2**63, 50_000),
        "groups of five": np.repeat(rng.integers(0, 2**63, 10_000), 5) ^ (1 << rng.integers(0, 63, 50_000)),
        "all near one another": rng.integers(0, 2**13, 50_000),
    }[kind]
    began = time.process_time()
    groups = near_duplicate_groups([int(one) for one in hashes])
    assert time.process_time() - began < 60
    if kind == "groups of five":
        assert len(set(groups)) == pytest.approx(10_000, rel=0.01)
        assert all(len(set(groups[start : start + 5])) == 1 for start in range(0, 50_000, 5))
