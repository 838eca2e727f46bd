"""Small pictures that all look different, and a way to prepare what a reader read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prepare_runs import picture, write_csv
from qinsight_cli.core.data.labels import Labelled
from qinsight_cli.core.data.manifest import Sample, read_split
from qinsight_cli.core.data.prepare import PrepareSettings, prepare_dataset
from qinsight_cli.core.data.problems import Problem

Draw = Callable[..., Path]
Prepare = Callable[..., tuple[dict[str, Sample], dict[str, Any], list[Problem]]]


@pytest.fixture
def draw() -> Draw:
    return picture


@pytest.fixture
def table() -> Callable[..., Path]:
    return lambda path, header, rows: write_csv(path, header, *rows)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Labelled, options -> rows by id, card, problems. The dataset lies in tmp_path/out."""

    def run(labelled: Labelled, **options: Any) -> tuple[dict[str, Sample], dict[str, Any], list[Problem]]:
        out = options.pop("out", tmp_path / "out")
        card, problems = prepare_dataset(labelled, PrepareSettings(out, **options), lambda total: lambda: None)
        rows = [row for path in sorted(out.glob("*.jsonl")) for row in read_split(out, path.stem)]
        return {row.id: row for row in rows}, card, problems

    return run
