"""A small real dataset for the training tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core.data.manifest import Sample, read_split


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory, photos: Callable[[str], NDArray[np.uint8]]) -> Path:
    """Two real photos, small, one lying and one standing, damaged by `qinsight prepare synth`: all rows train."""
    from qinsight_cli.cli import run

    clean = tmp_path_factory.mktemp("clean")
    Image.fromarray(photos("coffee")).resize((192, 128)).save(clean / "coffee.png")
    Image.fromarray(photos("chelsea")).resize((128, 192)).save(clean / "cat.png")
    folder = tmp_path_factory.mktemp("data") / "synth"
    arguments = ["prepare", "synth", str(clean), "--out", str(folder), "--test-share", "0", "--workers", "1"]
    assert run([*arguments, "--tasks", "degradation,score,comparison", "--reasoning"]) == 0
    return folder


@pytest.fixture(scope="session")
def small_rows(small_dataset: Path) -> list[Sample]:
    return read_split(small_dataset, "train")


@pytest.fixture(scope="session")
def talking_model(tmp_path_factory: pytest.TempPathFactory, random_model: Path, small_rows: list[Sample]) -> Path:
    """`random_model` after a short supervised run: it answers in the right form, and some of its answers are right."""
    from dataclasses import replace

    from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe
    from qinsight_cli.core.training.sft.run import run_sft

    rows = [replace(row, reasoning="I see.") for row in small_rows]
    phase = Phase("talk", "talk", 100, 12, 5e-3, {"score": 0.4, "degradation": 0.4, "comparison": 0.2})
    recipe = SftRecipe(model=str(random_model), seed=1, phases=(phase,), workers=0, bf16=False, final_dtype="float32")
    return run_sft(recipe, rows, tmp_path_factory.mktemp("talking"), [])
