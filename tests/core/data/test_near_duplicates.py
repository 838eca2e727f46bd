from __future__ import annotations

import io
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qinsight_cli.core.data.near_duplicates import NEAR, difference_hash, near_duplicate_groups, near_duplicate_pairs

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


@given(BITS, st.integers(0, 20))
def test_groups_are_the_connected_parts(hashes: list[int], near: int) -> None:
    found = near_duplicate_groups(hashes, near)
    reached = {i: {i} for i in range(len(hashes))}
    for _ in hashes:  # by brute force: neighbours of neighbours until nothing changes
        for i in reached:
            reached[i] |= {k for j in reached[i] for k in range(len(hashes)) if differing(hashes[j], hashes[k]) <= near}
    for i, j in itertools.combinations(range(len(hashes)), 2):
        assert (found[i] == found[j]) == (j in reached[i])


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 63), st.sampled_from("abc")), max_size=12))
def test_pairs_across_by_brute_force(rows: list[tuple[int, str]]) -> None:
    hashes, sides = [row[0] for row in rows], [row[1] for row in rows]
    expected = [
        (i, j, differing(hashes[i], hashes[j]))
        for i, j in itertools.combinations(range(len(rows)), 2)
        if sides[i] != sides[j] and differing(hashes[i], hashes[j]) <= NEAR
    ]
    assert near_duplicate_pairs(hashes, sides) == expected
