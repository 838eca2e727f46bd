from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.data import contact_sheet
from qinsight_cli.core.data.distortions import GENERATORS
from qinsight_cli.core.errors import ImageError, QInsightError

TILE, LABEL, HEAD, GAP = contact_sheet.TILE, contact_sheet.LABEL, contact_sheet.HEAD, contact_sheet.GAP


@pytest.fixture
def portrait(photo, tmp_path: Path) -> Path:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_every_generator_at_every_severity(portrait: Path, photo, tmp_path: Path) -> None:
    rows = contact_sheet.draw_contact_sheet(portrait, tmp_path / "sheet.png", seed=0)
    assert rows == sum(len(names) for names in GENERATORS.values()) == 18
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"), dtype=int)
    height, width = photo.shape[:2]
    left, top = (width - TILE[0]) // 2, (height - TILE[1]) // 2
    clean = photo[top : top + TILE[1], left : left + TILE[0]].astype(int)
    for row in range(rows):
        y = HEAD + row * (TILE[1] + GAP)
        tiles = [page[y : y + TILE[1], (x := LABEL + c * (TILE[0] + GAP)) : x + TILE[0]] for c in range(6)]
        assert np.array_equal(tiles[0], clean)
        damage = [np.abs(tile - clean).mean() for tile in tiles[1:]]
        assert all(value > 0.5 for value in damage)
        assert damage[4] > damage[0]


def test_a_small_photo_and_bad_paths(tmp_path: Path, portrait: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "small.png")
    contact_sheet.draw_contact_sheet(tmp_path / "small.png", tmp_path / "sheet.jpg", 0)
    with pytest.raises(QInsightError, match="cannot write the contact sheet"):
        contact_sheet.draw_contact_sheet(tmp_path / "small.png", tmp_path / "gone/sheet.png", 0)
    with pytest.raises(QInsightError, match="cannot write the contact sheet"):
        contact_sheet.draw_contact_sheet(tmp_path / "small.png", tmp_path / "sheet.unknown", 0)
    with pytest.raises(ImageError):
        contact_sheet.draw_contact_sheet(tmp_path / "gone.png", tmp_path / "sheet.png", 0)
