"""Near-duplicate pictures by perceptual hash, so that a split never has the same content on both sides.

A hash is meaningful only if the picture has enough structure. The hash of a flat page, or of a small object on a plain
background, has almost no information, so such a picture matches no other. If very many pictures match, only their
hashes are alike: pages of the same layout, for example. Groups over `LARGE` are therefore split again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Bits of 64 that may differ between pictures of one scene. On BIQ2021, pairs up to this distance mostly show one
# scene (such as another exposure of the same shot). The few chance pairs only make a held-out set stricter.
NEAR = 6
LARGE = 32  # pictures in a group; in larger groups only the hashes are alike (BIQ2021 has 29 of one scene)
TELLING = 24  # of 64 pairs of cells, how many must differ for a hash to be meaningful
_ROWS, _COLUMNS = 1024, 4096  # hashes per block of comparisons


def difference_hash(image: Image.Image) -> int | None:
    """64 bits: whether each cell of an 8x8 grid of the grey picture is brighter than its right neighbour (dHash).

    None when fewer than `TELLING` cells differ from their neighbours: the hash cannot identify the picture.
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    steps = grey[:, :-1] - grey[:, 1:]
    if np.count_nonzero(steps) < TELLING:
        return None
    return int("".join("1" if step > 0 else "0" for step in steps.ravel()), 2)


def near_duplicate_groups(hashes: Sequence[int | None], near: int = NEAR, large: int = LARGE) -> list[int]:
    """The group number of each picture: pictures within `near` bits of one another, transitively, share a group.

    A group over `large` is split with stricter thresholds (3, 1, 0 bits) until no part is too large. A picture
    without a hash forms its own group. Time is near-linear in the number of pictures.
    """
    known = np.array([index for index, one in enumerate(hashes) if one is not None], dtype=np.int64)
    values = np.array([one for one in hashes if one is not None], dtype=np.uint64)
    groups = np.arange(len(hashes))
    for members in _parts(values, near, large):
        groups[known[members]] = known[members[0]]
    return groups.tolist()


def taken_apart(hashes: Sequence[int | None]) -> list[list[int]]:
    """The groups over `LARGE`, as indices, that `near_duplicate_groups` splits."""
    whole = near_duplicate_groups(hashes, large=max(LARGE, len(hashes)))
    return [members for members in _members(whole) if len(members) > LARGE]


def near_duplicate_pairs(hashes: Sequence[int | None], sides: Sequence[str]) -> list[tuple[int, int, int]]:
    """Pictures of one group within `NEAR` bits of one another on different sides: (index, later index, bits)."""
    found = []
    for group in _members(near_duplicate_groups(hashes)):
        if len({sides[index] for index in group}) > 1:
            for place, first in enumerate(group):
                for other in group[place + 1 :]:
                    bits = ((hashes[first] or 0) ^ (hashes[other] or 0)).bit_count()
                    if sides[first] != sides[other] and bits <= NEAR:
                        found.append((first, other, bits))
    return sorted(found)


def _members(groups: Sequence[int]) -> list[list[int]]:
    """The indices in each group."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())


def _parts(values: NDArray[np.uint64], near: int, large: int) -> Iterator[NDArray[np.int64]]:
    """Indices of each group. Groups over `large` are split with ever fewer bits, in the end into single pictures."""
    waiting = [(np.arange(len(values)), near)] if len(values) else []
    while waiting:
        members, bits = waiting.pop()
        labels = _connected(values[members], bits, large)
        order = np.argsort(labels, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            group = members[part]
            if len(group) <= large:
                yield group
            elif bits > 0:
                waiting.append((group, bits // 2))
            else:
                yield from group[:, None]


def _connected(values: NDArray[np.uint64], near: int, large: int) -> NDArray[np.int64]:
    """A label for each value; values within `near` bits of one another share a label.

    Exact for groups up to `large`; of larger groups only the fact that they are too large matters.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    unique, place = np.unique(values, return_inverse=True)
    edges = [np.zeros((2, 0), dtype=np.int64), *_edges(unique, near, large)] if near else []
    rows, columns = np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), dtype=np.int64)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(unique), len(unique)))
    return connected_components(graph, directed=False)[1][place].astype(np.int64)


def _edges(unique: NDArray[np.uint64], near: int, large: int) -> Iterator[NDArray[np.int64]]:
    """Pairs of indices within `near` bits. At least one of `near` + 1 bands of bits is the same in both, so only hashes
    with a common band are compared. A hash with more than `large` neighbours yields only that many."""
    bounds = np.linspace(0, 64, near + 2).astype(int)
    for low, high in pairwise(bounds):
        band = (unique >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            if len(bucket) > 1:
                yield from _edges_within(unique, bucket, near, large)
        if band[order[0]] == band[order[-1]]:
            return  # all were compared with all


def _edges_within(
    unique: NDArray[np.uint64], bucket: NDArray[np.int64], near: int, large: int
) -> Iterator[NDArray[np.int64]]:
    values = unique[bucket]
    for start in range(0, len(bucket), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(bucket)))
        named = np.zeros(len(rows), dtype=np.int64)
        other, width = 0, large
        while other < len(bucket) and len(rows):
            close = np.bitwise_count(values[rows, None] ^ values[None, other : other + width]) <= near
            first, second = np.nonzero(close)
            yield np.stack([bucket[rows[first]], bucket[other + second]])
            named += close.sum(1)
            rows, named = rows[named <= large], named[named <= large]
            other, width = other + width, min(2 * width, _COLUMNS)
