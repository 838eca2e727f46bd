"""A loss, a gradient norm or a weight that is not finite ends a run at once; transformers' own Trainer goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.finite import FiniteSteps, check_weights, first_not_finite
from qinsight_cli.core.training.run_folder import WHOLE


class Line(nn.Module):
    """loss = (weight * x)^2"""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight * x).square().mean()}


class LineTrainer(FiniteSteps, Trainer):
    def rows_of_step(self) -> list[str]:
        return [f"row{self.state.global_step}", *"abcdef"]


def trainer(out: Path, values: list[float], kind: type = LineTrainer, **settings: Any) -> Any:
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=len(values),
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        save_steps=1,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **{"learning_rate": 1e-3, "lr_scheduler_type": "constant", **settings},
    )
    return kind(model=Line(), args=arguments, train_dataset=[{"x": torch.tensor(value)} for value in values])


def test_each_step_before_is_kept_and_marked_whole(tmp_path: Path) -> None:
    made = trainer(tmp_path, [1.0, 2.0, math.nan, 1.0])
    with pytest.raises(QInsightError) as caught:
        made.train()
    assert str(caught.value) == (
        f"{tmp_path}, step 3: the loss is nan; rows row2, a, b, c and 3 more; "
        f"the last good checkpoint is {tmp_path / 'checkpoint-2'}"
    )
    assert sorted(path.parent.name for path in tmp_path.glob(f"*/{WHOLE}")) == ["checkpoint-1", "checkpoint-2"]
    assert made.model.weight.isfinite().all()


def test_a_gradient_that_overflows_stops_before_the_step_is_taken(tmp_path: Path) -> None:
    made = trainer(tmp_path, [1.0, 1e18])
    made.model.weight.register_hook(lambda gradient: gradient * (math.inf if made.state.global_step else 1.0))
    with pytest.raises(QInsightError, match=r"step 2: the gradient norm is (inf|nan); rows row1"):
        made.train()
    assert made.model.weight.isfinite().all()


def test_a_weight_that_overflows_is_named(tmp_path: Path) -> None:
    class Overflowing(LineTrainer):
        def create_optimizer(self, model: Any = None) -> Any:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=3e38)
            return self.optimizer

    made = trainer(tmp_path, [10.0, 1.0], Overflowing, max_grad_norm=0)
    with pytest.raises(QInsightError, match=r"step 1: the weight weight is not finite; .*no checkpoint was written"):
        made.train()


def test_without_the_guard_the_run_would_go_on(tmp_path: Path) -> None:
    """What it is for: should transformers ever stop by itself, this test says so."""
    made = trainer(tmp_path, [1.0, math.nan, 1.0], Trainer)
    made.train()
    assert made.state.global_step == 3
    assert made.model.weight.isnan().all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_model_with_a_wrong_weight_is_refused(wrong: float) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).bfloat16()
    check_weights(network, "small")
    assert first_not_finite(network) is None
    with torch.no_grad():
        network[1].weight[1, 2] = wrong
    with pytest.raises(QInsightError, match=r"the model small cannot be trained: its weight 1\.weight holds"):
        check_weights(network, "small")
