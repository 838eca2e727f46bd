"""A stub engine for every model, and a folder of grey pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pixel_engine
from qinsight_cli.core.engines import local


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """PixelEngine for every model; the list fills with the engines made."""
    made: list[Any] = []

    def load_engine(model: str, *options: Any) -> Any:
        made.append(pixel_engine.PixelEngine(name=model))
        return made[-1]

    monkeypatch.setattr(local, "load_engine", load_engine)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        Image.new("RGB", (20 + i, 16), (60 * i,) * 3).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"
