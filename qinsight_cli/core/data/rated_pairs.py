"""Comparison rows from a rated dataset: two of its pictures, and the one that people rated higher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import comparison


def rated_pairs(rows: Sequence[Sample], each: float, min_gap: float, seed: int) -> list[Sample]:
    """Pairs of score rows of one split and source whose ratings lie at least `min_gap` apart, in random order.

    each  pairs per picture; pictures without a partner that far away are skipped
    Raises QInsightError if there is no pair at all.
    """
    pairs: list[Sample] = []
    groups: dict[tuple[str, str], list[Sample]] = {}
    for row in rows:
        groups.setdefault((row.split, row.source), []).append(row)
    started: dict[str, int] = {}  # the next number per split, so that ids of two sources do not collide
    for (split, source), members in sorted(groups.items()):
        start = started.get(split, 0)
        started[split] = start + round(each * len(members))
        rng = np.random.default_rng([seed, *f"{split}/{source}".encode()])
        ratings = np.array([row.truth["rating"] for row in members])
        for number in range(round(each * len(members))):
            first = int(rng.integers(len(members)))
            gaps = np.abs(ratings - ratings[first])
            partners = np.flatnonzero((gaps >= min_gap) & (gaps > 0))
            if len(partners):
                second = int(partners[rng.integers(len(partners))])
                pairs.append(_pair(members[first], members[second], start + number, split, source))
    if not pairs:
        raise QInsightError(f"no two pictures of one split are rated {min_gap:g} or more apart")
    return pairs


def _pair(first: Sample, second: Sample, number: int, split: str, source: str) -> Sample:
    reasoning = ""
    if first.reasoning and second.reasoning:
        from qinsight_cli.core.data.reasoning import describe_pair  # OpenCV comes with an extra

        reasoning = describe_pair(first.reasoning, second.reasoning)
    ratings = (first.truth["rating"], second.truth["rating"])
    roles = {"image_a": first, "image_b": second}
    return Sample(
        id=f"{split}/{number:06d}",
        task=comparison.TASK.name,
        split=split,
        source=source,
        images={role: row.images["image"] for role, row in roles.items()},
        files={role: row.files["image"] for role, row in roles.items() if "image" in row.files},
        truth=comparison.rated(*ratings),
        raw_label=list(ratings),
        reasoning=reasoning,
    )
