"""The memory that `--dry-run` names, for GRPO and SFT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qinsight_cli.core.training import memory
from qinsight_cli.core.training.grpo import run as grpo
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.lora import lora_config
from qinsight_cli.core.training.recipe import load_grpo, load_sft
from qinsight_cli.core.training.sft import new_model
from qinsight_cli.core.training.sft import run as sft

SIZES = memory.KNOWN_SIZES["qwen2.5-vl-7b"]


def figures(line: str) -> dict[str, float]:
    """12.34 GB = weights 10.00 + gradients 2.34, for ... -> the named parts, and the total."""
    total, _, named = line.partition(",")[0].partition(" GB = ")
    return {"total": float(total)} | {name: float(size) for name, size in (part.split() for part in named.split(" + "))}


def test_sizes_come_from_the_headers_of_the_weights(random_model: Path) -> None:
    from qinsight_cli.core.models.loading import load_model

    network = load_model(str(random_model), "cpu").network
    count = sum(value.numel() for value in network.parameters())
    vision = sum(value.numel() for value in network.model.visual.parameters())
    assert memory.sizes("x", random_model) == (count, vision)
    assert memory.sizes("qwen2.5-vl-7b", None) == (8_292_166_656, 676_550_144)
    assert memory.sizes("owner/other", None) is None


def test_grpo_of_the_7b_model() -> None:
    full = figures(grpo._memory(load_grpo("paper"), None, *SIZES))
    assert full == {
        "weights": pytest.approx(33.17, abs=0.01),
        "gradients": pytest.approx(33.17, abs=0.01),
        "optimizer": pytest.approx(66.34, abs=0.01),
        "reference": pytest.approx(33.17, abs=0.01),
        "total": pytest.approx(165.84, abs=0.02),
    }
    small = figures(grpo._memory(load_grpo("lora-24gb"), None, *SIZES))
    assert "so much in each process" in grpo._memory(load_grpo("lora-24gb"), None, *SIZES)  # nothing divides it
    assert small["merge"] == pytest.approx(0.815, abs=0.005)  # one weight three times in float32, not all of them
    assert small["total"] < 24
    assert "reference" not in small  # the adapter switched off is the reference


def test_sft_of_the_7b_model() -> None:
    recipe = load_sft("paper-qwen-sft")
    found = figures(sft._memory(recipe, None, *SIZES))
    assert found == {
        "weights": pytest.approx(16.58 + 161_480_704 * 4e-9, abs=0.01),
        "gradients": pytest.approx(161_480_704 * 4e-9, abs=0.01),
        "optimizer": pytest.approx(161_480_704 * 8e-9, abs=0.01),
        "merge": pytest.approx(0.815, abs=0.005),
        "total": pytest.approx(19.98, abs=0.02),
    }
    whole = figures(sft._memory(replace(recipe, lora_rank=0, dtype="float32", freeze_vision=False), None, *SIZES))
    assert whole["total"] == pytest.approx(16 * 8.292, abs=0.01)


def test_sft_of_a_new_model() -> None:
    """`tiny` is one; its vocabulary became smaller than its recipe allows."""
    recipe = load_sft("tiny")
    all_of_them, vision = new_model.sizes(recipe.network)
    became, saw = memory.sizes("tiny", Path(new_model.__file__).parents[3] / "tiny") or (0, 0)
    assert vision == saw
    assert became <= all_of_them < became + 1000 * recipe.network.text_hidden
    eyes = replace(recipe, phases=tuple(phase for phase in recipe.phases if phase.kind == "see"))
    assert figures(sft._memory(eyes, None, all_of_them, vision))["optimizer"] == pytest.approx(vision * 8e-9, abs=0.006)


def test_the_size_of_an_adapter_is_peft_s(random_model: Path) -> None:
    from qinsight_cli.core.models.loading import load_model

    peft = pytest.importorskip("peft")
    recipe = GrpoRecipe(lora_rank=4)
    network = load_model(str(random_model), "cpu").network
    adapted = peft.get_peft_model(network, lora_config(recipe))
    trained = sum(value.numel() for value in adapted.parameters() if value.requires_grad)
    changed = [value.numel() for name, value in adapted.named_parameters() if name.endswith("base_layer.weight")]
    assert memory.adapter_of(4, recipe.lora_targets, random_model) == memory.Adapter(trained, max(changed))
    assert memory.adapter_of(0, recipe.lora_targets, random_model) == memory.NO_ADAPTER
    assert not any("visual" in name for name, value in adapted.named_parameters() if value.requires_grad)
