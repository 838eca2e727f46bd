"""The loss of the talking phases against a plain forward pass, and the heads as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.training.sft.batches import Collator
from qinsight_cli.core.training.sft.heads import SeeingTower
from qinsight_cli.core.training.sft.recipe import Phase
from qinsight_cli.core.training.sft.trainers import TalkingTrainer, load_heads, save_heads

PHASE = Phase("talk", "talk", 1, 3, 1e-3, {"score": 1.0}, crop=64)


@pytest.fixture(scope="module")
def model(random_conv_model: Path) -> Model:
    return load_model(str(random_conv_model), "cpu", "float32")


def loss_of(model: Model, batch: dict[str, Any]) -> torch.Tensor:
    return TalkingTrainer.compute_loss(None, model.network, {name: value.clone() for name, value in batch.items()})


def hard_losses(model: Model, batch: dict[str, Any]) -> torch.Tensor:
    """(rows, columns): of each token, from the logits of the whole sequence."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")}
    inputs["mm_token_type_ids"] = batch["mm_token_type_ids"]
    logits = model.network(**inputs, use_cache=False).logits[:, :-1].log_softmax(-1)
    found = -logits.gather(2, inputs["input_ids"][:, 1:, None])[..., 0]
    return torch.cat([torch.zeros(len(found), 1), found], 1)


@torch.no_grad()
def test_the_loss_is_the_weighted_mean_of_the_losses_of_the_tokens(model: Model, small_rows: list[Sample]) -> None:
    rows = [next(row for row in small_rows if row.task == task) for task in ("score", "degradation")]
    batch = Collator(rows, model.processor, PHASE, {"rating": 8.0, "severity": 3.0})([{"rows": [0, 1], "seed": 1}])
    expected = (hard_losses(model, batch) * batch["weights"]).sum() / batch["weights"].sum()
    assert loss_of(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)


@torch.no_grad()
def test_soft_digits_cost_what_hard_ones_cost_on_average(model: Model, small_rows: list[Sample]) -> None:
    """For each digit that could stand there, the loss of the row with it, weighed by its probability."""
    rows = [next(row for row in small_rows if row.task == task) for task in ("degradation", "score")]
    collator = Collator(rows, model.processor, PHASE, {"rating": 8.0}, rating_spread=0.4)
    batch = collator([{"rows": [0, 1, 1], "seed": 2}])
    weights = batch["weights"]
    expected = (hard_losses(model, batch) * weights).sum()
    for (row, column), target in zip(batch["digit_places"].tolist(), batch["digit_targets"], strict=True):
        written = batch["input_ids"][row, column].item()
        average = 0.0
        for digit, chance in enumerate(target.tolist()):
            other = {**batch, "input_ids": batch["input_ids"].clone()}
            other["input_ids"][row, column] = batch["digit_ids"][digit]
            if chance:
                average += chance * hard_losses(model, other)[row, column].item()
        assert other["input_ids"][row, column] != written or target[9] > 0
        expected += weights[row, column] * (average - hard_losses(model, batch)[row, column])
    soft = loss_of(model, batch).item()
    assert soft == pytest.approx((expected / weights.sum()).item(), rel=1e-4)
    assert soft != pytest.approx(((hard_losses(model, batch) * weights).sum() / weights.sum()).item(), rel=1e-3)


def test_heads_come_back_from_their_file_and_leave_the_tower_alone(model: Model, tmp_path: Path) -> None:
    tower, width = model.network.model.visual, model.network.config.vision_config.out_hidden_size
    torch.manual_seed(0)
    first, second = SeeingTower(tower, width), SeeingTower(tower, width)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    save_heads(first, tmp_path / "heads.safetensors")
    load_heads(second, tmp_path / "heads.safetensors")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)
    for name, value in tower.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["heads.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"torn"])
def test_heads_that_are_not_whole_are_one_line(model: Model, tmp_path: Path, content: bytes) -> None:
    tower, width = model.network.model.visual, model.network.config.vision_config.out_hidden_size
    (tmp_path / "heads.safetensors").write_bytes(content)
    with pytest.raises(QInsightError, match=r"heads\.safetensors cannot be read") as caught:
        load_heads(SeeingTower(tower, width), tmp_path / "heads.safetensors")
    assert "\n" not in str(caught.value)
