"""Gives the tests of core the class of tests/pixel_engine.py."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

MODULE = runpy.run_path(str(Path(__file__).parent.parent / "pixel_engine.py"))


@pytest.fixture(scope="session")
def pixel_engine() -> Any:
    """The class PixelEngine."""
    return MODULE["PixelEngine"]


@pytest.fixture(scope="session")
def rating_of() -> Any:
    """The function that says how PixelEngine rates a picture."""
    return MODULE["rating_of"]
