"""Gives the tests of core the class of tests/pixel_engine.py."""

from __future__ import annotations

from typing import Any

import pytest

import pixel_engine as helpers


@pytest.fixture(scope="session")
def pixel_engine() -> Any:
    """The class PixelEngine."""
    return helpers.PixelEngine


@pytest.fixture(scope="session")
def rating_of() -> Any:
    """The function that says how PixelEngine rates a picture."""
    return helpers.rating_of
