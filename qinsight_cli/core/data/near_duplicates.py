"""Near-duplicate pictures by perceptual hash, so that a split never has the same content on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

# Bits of 64 that may differ between pictures of one scene. Looked at on BIQ2021: pairs up to here are mostly one scene
# (the same shot in another exposure, say), with a few chance pairs, which only makes a held-out set stricter.
NEAR = 6


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each cell of an 8x8 grid of the grey picture is brighter than its right neighbour (dHash)."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (grey[:, :-1] > grey[:, 1:]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def near_duplicate_groups(hashes: Sequence[int], near: int = NEAR) -> list[int]:
    """The group number of each picture: pictures within `near` bits of one another, transitively, share a group."""
    values = np.array(hashes, dtype=np.uint64)
    parent = list(range(len(hashes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index in range(len(values) - 1):
        distances = np.bitwise_count(values[index] ^ values[index + 1 :])
        for other in np.flatnonzero(distances <= near):
            parent[root(index + 1 + int(other))] = root(index)
    return [root(index) for index in range(len(values))]


def near_duplicate_pairs(hashes: Sequence[int], sides: Sequence[str], near: int = NEAR) -> list[tuple[int, int, int]]:
    """Pictures within `near` bits of one another on different sides: (index, later index, bits that differ)."""
    values = np.array(hashes, dtype=np.uint64)
    codes = np.unique(np.array(sides, dtype=str), return_inverse=True)[1] if len(sides) else np.array([], dtype=int)
    found = []
    if len(np.unique(codes)) > 1:
        for index in range(len(values) - 1):
            distances = np.bitwise_count(values[index] ^ values[index + 1 :])
            close = np.flatnonzero((distances <= near) & (codes[index + 1 :] != codes[index]))
            found += [(index, index + 1 + int(other), int(distances[other])) for other in close]
    return found
