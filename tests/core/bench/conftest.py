"""Gives the tests of the bench the datasets of tests/bench_data.py and a quiet way to ask."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qinsight_cli.core.bench.systems.base import Asking
from qinsight_cli.core.engines import Decoding

MODULE = runpy.run_path(str(Path(__file__).parents[2] / "bench_data.py"))


@pytest.fixture(scope="session")
def make() -> Any:
    """The builders of tests/bench_data.py."""
    return SimpleNamespace(**MODULE)


@contextmanager
def no_progress(noun: str, total: int) -> Iterator[Any]:
    yield lambda: None


@pytest.fixture
def said() -> list[str]:
    """What `asking` said to the user."""
    return []


@pytest.fixture
def asking(tmp_path: Path, said: list[str]) -> Asking:
    return Asking(tmp_path / "bench", Decoding(), 8, 0, False, False, said.append, no_progress)
