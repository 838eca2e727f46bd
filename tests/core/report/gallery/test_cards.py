"""What the gallery shows of a row, and in which order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from qinsight_cli.core.report.gallery.cards import Card, Picture, card_of, filters, worst_first
from qinsight_cli.core.tasks import TASKS


def score_row(path: str, rating: str | None, reasoning: str = "", error: str | None = None) -> dict[str, Any]:
    value = None if rating is None else Decimal(rating)
    told = {"verdict": "told", "reasoning": reasoning, "error": error}
    return {"path": path, "rating": value, "rating_std": Decimal("0.500"), **told}


def test_a_rating_has_its_place_on_the_scale_and_the_damage_that_is_named() -> None:
    card = card_of(TASKS["score"], score_row("a/b.jpg", "2.00", "There is serious blur. There is slight noise."))
    assert (card.title, card.number, card.spread, card.share, card.badness) == ("b.jpg", 2.0, 0.5, 0.25, -2.0)
    assert card.words == {"distortion": "blur", "severity": "serious"}
    clean = card_of(TASKS["score"], score_row("a.jpg", "5.00", "Sharp."))
    assert clean.words == {"distortion": "none named", "severity": "none"}


def test_words_and_pairs_are_said_as_a_person_would() -> None:
    row = {"path": "a", "distortion": "blur", "severity": "serious", "verdict": "", "reasoning": "", "error": None}
    card = card_of(TASKS["degradation"], row)
    assert (card.said, card.badness, card.share) == ("serious blur", 4.0, pytest.approx(0.2))
    assert card_of(TASKS["degradation"], {**row, "distortion": "none", "severity": "none"}).said == "none"
    pair = {"image_a": "x/1.png", "image_b": "2.png", "reference": None, "winner": "Image B"}
    card = card_of(TASKS["comparison"], {**pair, "verdict": "", "reasoning": "", "error": None})
    assert [(picture.label, picture.name) for picture in card.pictures] == [("Image A", "1.png"), ("Image B", "2.png")]
    assert card.said == "Image B is better"
    assert card.badness is None


def test_worst_first_and_errors_last() -> None:
    rows = [score_row("1", "3.00"), score_row("2", None, error="broken"), score_row("3", "1.00"), score_row("4", "2.0")]
    assert [card.title for card in worst_first(card_of(TASKS["score"], row) for row in rows)] == ["3", "4", "1", "2"]


def test_choices_leave_out_what_all_have_in_common() -> None:
    words = [("blur", "slight"), ("blur", "serious"), ("blur", "serious")]
    cards = [Card((), words={"distortion": kind, "severity": level}) for kind, level in words]
    assert filters(cards) == {"severity": ["serious", "slight"]}


@pytest.mark.parametrize("name", ["a b.jpg", "100%.jpg", "a#b?c.jpg", "ü.jpg", "\udcff.jpg", 'q"<&>.jpg', "x:y.jpg"])
def test_addresses_lead_back_to_the_file(name: str, tmp_path: Any) -> None:
    address = Picture("", str(tmp_path / "photos" / name)).address(str(tmp_path / "out"))
    assert not set(address) & set(' #?"<>&:')
    assert unquote_to_bytes(address) == b"../photos/" + name.encode("utf-8", "surrogateescape")
