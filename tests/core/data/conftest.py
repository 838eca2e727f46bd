"""Small pictures that all look different, and a way to prepare what a reader read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.data.labels import Labelled
from qinsight_cli.core.data.manifest import Sample, read_split
from qinsight_cli.core.data.prepare import PrepareSettings, prepare_dataset
from qinsight_cli.core.data.problems import Problem

Draw = Callable[..., Path]
Prepare = Callable[..., tuple[dict[str, Sample], dict[str, Any], list[Problem]]]


def draw_picture(path: Path, number: int = 0, size: tuple[int, int] = (18, 16)) -> Path:
    """Write a picture of random pixels: two numbers give two pictures with far apart perceptual hashes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(cells).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def draw() -> Draw:
    return draw_picture


@pytest.fixture
def table() -> Callable[..., Path]:
    return write_csv


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Labelled, options -> rows by id, card, problems. The dataset lies in tmp_path/out."""

    def run(labelled: Labelled, **options: Any) -> tuple[dict[str, Sample], dict[str, Any], list[Problem]]:
        out = options.pop("out", tmp_path / "out")
        card, problems = prepare_dataset(labelled, PrepareSettings(out, **options), lambda total: lambda: None)
        rows = [row for path in sorted(out.glob("*.jsonl")) for row in read_split(out, path.stem)]
        return {row.id: row for row in rows}, card, problems

    return run
