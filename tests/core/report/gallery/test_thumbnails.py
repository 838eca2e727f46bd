"""Thumbnails are bounded in bytes, show the picture, and are read back by an independent decoder."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.report.gallery.thumbnails import MOST_BYTES, PAGE_BYTES, bytes_each, encode, thumbnail

NOISE = np.random.default_rng(0).integers(0, 256, (900, 1400, 3), dtype=np.uint8)  # nothing compresses it


@pytest.mark.parametrize("limit", [2_000, 20_000, MOST_BYTES])
def test_even_noise_keeps_the_limit(limit: int) -> None:
    encoded = encode(Image.fromarray(NOISE), limit)
    assert 0 < len(encoded) <= limit
    assert encode(Image.fromarray(NOISE), 20) == b""


def test_a_page_is_bounded_however_many_pictures() -> None:
    for count in (1, 50, 500, 5000):
        assert count * bytes_each(count) <= max(PAGE_BYTES, count * MOST_BYTES if count <= 112 else 0)
        assert bytes_each(count) <= MOST_BYTES


def test_it_is_the_picture_upright(tmp_path: Path, photo: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(photo)).save(tmp_path / "a.png", exif=exif)
    head, _, data = thumbnail(str(tmp_path / "a.png"), 60_000).partition(",")
    assert head == "data:image/webp;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert shown.width > shown.height
    small = np.asarray(Image.fromarray(photo).resize(shown.size, Image.Resampling.LANCZOS), dtype=float)
    assert np.abs(np.asarray(shown, dtype=float) - small).mean() < 6


def test_no_thumbnail_where_there_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("broken")
    assert thumbnail(str(tmp_path / "broken.jpg"), 10_000) == ""
    assert thumbnail(str(tmp_path / "missing.jpg"), 10_000) == ""
