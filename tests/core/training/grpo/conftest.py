"""A small GRPO run on the small dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_recipe import RECIPE
from qinsight_cli.core.training.datasets import collect
from qinsight_cli.core.training.grpo.run import TrainingRun


@pytest.fixture(scope="session")
def job(talking_model: Path, small_dataset: Path) -> Callable[..., TrainingRun]:
    def make(**changes: Any) -> TrainingRun:
        recipe = replace(RECIPE, model=str(talking_model), **changes)
        rows, data = collect([small_dataset], recipe.tasks)
        return TrainingRun(recipe, rows, data, rows[::9], rows[1::9])

    return make
