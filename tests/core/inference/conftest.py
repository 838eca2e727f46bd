"""Pictures that the tests of asking share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Eleven grey pictures of different sizes and brightness."""
    paths = []
    for i in range(11):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (10 + i, 8), (20 * i + 5,) * 3).save(paths[-1])
    return paths
