"""Draws that depend on a seed and on names alone: the same on every machine and for every order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence


def draw_unit(seed: int, name: str) -> float:
    """A number in [0, 1) for a name."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") / 2**64


def draw_stratified(names: Sequence[str], strata: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """Indices of `count` of the names, in order, each stratum with its share to the nearest one.

    The last places go to the strata with the largest remainders. All indices when there are no more than `count`.
    """
    if len(names) <= count:
        return list(range(len(names)))
    members: dict[Hashable, list[int]] = {}
    for index, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(index)
    shares = {stratum: count * len(group) / len(names) for stratum, group in members.items()}
    places = {stratum: int(share) for stratum, share in shares.items()}
    order = sorted(members, key=lambda stratum: (places[stratum] - shares[stratum], str(stratum)))
    for stratum in order[: count - sum(places.values())]:
        places[stratum] += 1
    drawn: list[int] = []
    for stratum, group in members.items():
        group.sort(key=lambda index: (draw_unit(seed, names[index]), names[index]))
        drawn += group[: places[stratum]]
    return sorted(drawn)
