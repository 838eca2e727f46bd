"""A small GRPO run on the small dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_recipe import RECIPE
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.datasets import collect
from qinsight_cli.core.training.grpo.path_processor import path_processor
from qinsight_cli.core.training.grpo.run import TrainingRun, dataset
from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer
from small_trainers import BETA, CLIP, Build, words


@pytest.fixture(scope="session")
def job(talking_model: Path, small_dataset: Path) -> Callable[..., TrainingRun]:
    def make(**changes: Any) -> TrainingRun:
        recipe = replace(RECIPE, model=str(talking_model), **changes)
        rows, data = collect([small_dataset], recipe.tasks)
        return TrainingRun(recipe, rows, data, rows[::9], rows[1::9])

    return make


@pytest.fixture
def build(random_model: Path, small_rows: list[Sample], tmp_path: Path) -> Build:
    """A trainer on two rows with one picture and one with several."""
    from trl import GRPOConfig

    chosen = [next(row for row in small_rows if row.task == task) for task in ("score", "degradation", "comparison")]

    def make(shared: bool = True, rows: list[Sample] = chosen, **more: Any) -> MultiTaskTrainer:
        model = load_model(str(random_model), "cpu", "float32")
        settings: dict[str, Any] = {
            "max_steps": 1,
            "per_device_train_batch_size": 12,
            "num_generations": 4,
            "max_completion_length": 12,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "loss_type": "grpo",
            "beta": BETA,
            "epsilon": CLIP,
            "use_bias_correction_kl": False,
            "bf16": False,
            "gradient_checkpointing": False,
            **more,
        }
        own = {
            name: settings.pop(name)
            for name in ("skip_zero_variance", "rollout_batch", "final_learning_rate")
            if name in settings
        }
        rewards = settings.pop("rewards", [words])
        return MultiTaskTrainer(
            model=model.network,
            args=GRPOConfig(
                output_dir=str(tmp_path),
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                **settings,
            ),
            train_dataset=dataset(rows, TASKS),
            processing_class=path_processor(model.processor, 16),
            reward_funcs=rewards,
            shared=shared,
            **own,
        )

    return make
