"""Gives the tests of the bench the datasets of tests/bench_data.py and a quiet way to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bench_data
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.engines import Decoding


@pytest.fixture(scope="session")
def make() -> Any:
    """The builders of tests/bench_data.py."""
    return bench_data


@contextmanager
def no_progress(noun: str, total: int) -> Iterator[Any]:
    yield lambda: None


@pytest.fixture
def told() -> list[str]:
    """What `answer_settings.say` told the user."""
    return []


@pytest.fixture
def answer_settings(tmp_path: Path, told: list[str]) -> AnswerSettings:
    return AnswerSettings(tmp_path / "bench", Decoding(), 8, 0, False, False, told.append, no_progress)
