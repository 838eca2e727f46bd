"""Draws and splits by a seed and by names alone: the same on every machine and for every order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence


def seed_of(text: str) -> int:
    """A seed of 64 bits for a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def draw_unit(seed: int, name: str) -> float:
    """A number in [0, 1) for a name."""
    return seed_of(f"{seed}:{name}") / 2**64


def draw_stratified(names: Sequence[str], strata: Sequence[tuple[Hashable, ...]], count: int, seed: int) -> list[int]:
    """Indices of `count` of the names, in order, proportional by the first part of their strata, then the second, ...

    The last places go to the largest remainders. Returns all indices if there are no more than `count`.
    """
    return sorted(_draw(list(range(len(names))), names, strata, 0, count, seed))


def _draw(
    members: list[int], names: Sequence[str], strata: Sequence[tuple[Hashable, ...]], level: int, count: int, seed: int
) -> list[int]:
    if len(members) <= count:
        return members
    if level == len(strata[members[0]]):
        return sorted(members, key=lambda index: (draw_unit(seed, names[index]), names[index]))[:count]
    groups: dict[Hashable, list[int]] = {}
    for index in members:
        groups.setdefault(strata[index][level], []).append(index)
    shares = {part: count * len(group) / len(members) for part, group in groups.items()}
    places = {part: int(share) for part, share in shares.items()}
    order = sorted(groups, key=lambda part: (places[part] - shares[part], str(part)))
    for part in order[: count - sum(places.values())]:
        places[part] += 1
    return [i for part, group in groups.items() for i in _draw(group, names, strata, level + 1, places[part], seed)]


def split_by_group(group_of: Sequence[int], names: Sequence[str], test_share: float, seed: int) -> list[str]:
    """ "train" or "test" for each picture: whole groups, drawn by a hash of seed and name, whatever the order."""
    first_name: dict[int, str] = {}
    for group, name in sorted(zip(group_of, names, strict=True), key=lambda pair: pair[1]):
        first_name.setdefault(group, name)
    return ["test" if draw_unit(seed, first_name[group]) < test_share else "train" for group in group_of]
