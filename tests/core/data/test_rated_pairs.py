from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qinsight_cli.core.data.manifest import FileFacts, Sample
from qinsight_cli.core.data.rated_pairs import rated_pairs
from qinsight_cli.core.errors import QInsightError


def rated(number: int, rating: float, split: str = "train", source: str = "mine") -> Sample:
    return Sample(
        f"{source}{number}",
        "score",
        split,
        source,
        {"image": Path(f"/photos/{source}{number}.png")},
        {"rating": rating},
        reasoning=f"The picture has number {number}.",
        files={"image": FileFacts(f"{number:064x}", 8, 9)},
    )


@pytest.fixture
def rows() -> list[Sample]:
    ratings = np.random.default_rng(0).uniform(1, 5, 200).round(2)
    return [rated(i, float(rating), "test" if i % 4 == 0 else "train") for i, rating in enumerate(ratings)]


def test_the_higher_rating_wins_within_one_split(rows: list[Sample]) -> None:
    by_path = {row.images["image"]: row for row in rows}
    pairs = rated_pairs(rows, 2.0, 0.75, 0)
    assert len({pair.id for pair in pairs}) == len(pairs) == 400
    for pair in pairs:
        first, second = (by_path[pair.images[role]] for role in ("image_a", "image_b"))
        ratings = [first.truth["rating"], second.truth["rating"]]
        assert abs(ratings[0] - ratings[1]) >= 0.75
        assert pair.truth["winner"] == ("Image A", "Image B")[int(np.argmax(ratings))]
        assert pair.raw_label == ratings
        assert first.split == second.split == pair.split
        assert pair.files == {"image_a": first.files["image"], "image_b": second.files["image"]}
        numbers = [row.id.removeprefix("mine") for row in (first, second)]
        assert pair.reasoning == "Image A has number {}. Image B has number {}.".format(*numbers)
    share = np.mean([pair.truth["winner"] == "Image A" for pair in pairs])
    assert 0.4 < share < 0.6, "the order tells nothing"


def test_the_seed_decides(rows: list[Sample]) -> None:
    assert rated_pairs(rows, 1.0, 0.5, 3) == rated_pairs(rows, 1.0, 0.5, 3) != rated_pairs(rows, 1.0, 0.5, 4)


def test_sources_are_not_mixed_and_ids_are_their_own() -> None:
    rows = [rated(i, 1 + i / 3, source=source) for i in range(12) for source in ("one", "two")]
    pairs = rated_pairs(rows, 1.0, 0.5, 0)
    assert len({pair.id for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert all(path.name.startswith(pair.source) for path in pair.images.values())


def test_equal_ratings_have_no_winner() -> None:
    """Not even with a gap of 0: neither a picture and itself nor two of one rating."""
    rows = [rated(i, 2.0 + (i % 2)) for i in range(30)]
    for pair in rated_pairs(rows, 3.0, 0.0, 0):
        assert pair.raw_label[0] != pair.raw_label[1]
    with pytest.raises(QInsightError, match="no two pictures of one split are rated"):
        rated_pairs([rated(i, 2.0) for i in range(5)], 3.0, 0.0, 0)


def test_no_reasoning_where_one_has_none() -> None:
    rows = [replace(rated(0, 1.0), reasoning=""), rated(1, 5.0)]
    assert {pair.reasoning for pair in rated_pairs(rows, 2.0, 0.5, 0)} == {""}


def test_no_pair_is_far_enough_apart() -> None:
    with pytest.raises(QInsightError, match=r"no two pictures of one split are rated 2 or more apart"):
        rated_pairs([rated(0, 1.0), rated(1, 2.0), rated(2, 5.0, "test")], 1.0, 2.0, 0)
