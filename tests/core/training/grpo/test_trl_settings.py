"""The arguments that TRL receives: what restores Eq. 1 and 2, and options that no CPU can run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.grpo.schedule import Schedule, UpdateBatch
from qinsight_cli.core.training.grpo.trl_settings import grpo_arguments, linear_factor
from qinsight_cli.core.training.launch import FOLDER
from qinsight_cli.core.training.lora import lora_config
from qinsight_cli.core.training.recipe import load_grpo

PLAN = Schedule(UpdateBatch(8, 2, 8, 16), (), 8750)


def test_the_paper_in_trl(tmp_path: Path) -> None:
    arguments = grpo_arguments(load_grpo("paper"), PLAN, [1.0, 1.0, 0.25, 0.75], tmp_path, on_cpu=False)
    expected = {
        "loss_type": "grpo",
        "beta": 1e-3,
        "use_bias_correction_kl": False,
        "epsilon": 0.2,
        "delta": None,
        "scale_rewards": "group",
        "num_iterations": 1,
        "num_generations": 8,
        "reward_weights": [1.0, 1.0, 0.25, 0.75],
        "learning_rate": 1e-6,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "max_steps": 8750,
        "temperature": 1.0,
        "max_completion_length": 256,
        "bf16": True,
        "use_vllm": False,
        "use_cpu": False,
    }
    assert {name: arguments[name] for name in expected} == expected


def test_trl_takes_every_argument(tmp_path: Path) -> None:
    from trl import GRPOConfig

    for recipe in (GrpoRecipe(bf16=False), GrpoRecipe(bf16=False, gradient_checkpointing=True, mask_truncated=True)):
        config = GRPOConfig(**grpo_arguments(recipe, PLAN, [1.0], tmp_path, on_cpu=True))
        assert config.steps_per_generation == 2
        assert config.generation_batch_size == 16  # one process here; as many groups as fit twice 8 completions
        assert config.loss_type == "grpo"


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_learning_rate_falls_in_a_straight_line_to_its_end(warmup: int) -> None:
    import torch
    from torch.optim.lr_scheduler import LambdaLR

    recipe = load_grpo("paper")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    schedule = LambdaLR(optimizer, linear_factor(warmup, 100, recipe.final_learning_rate / recipe.learning_rate))
    rates = []
    for _ in range(121):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:warmup] == pytest.approx([1e-6 * step / warmup for step in range(warmup)])
    falling = [1e-6 + (1e-9 - 1e-6) * (step - warmup) / (100 - warmup) for step in range(warmup, 101)]
    assert rates[warmup:101] == pytest.approx(falling)
    assert rates[101:] == pytest.approx([1e-9] * 20)


def test_tokens_for_pictures_are_never_drawn_by_others(tmp_path: Path) -> None:
    """Under the names that vLLM and transformers have for it; our own rollouts leave them out themselves."""
    banned = {"<|image_pad|>": 9, "<|video_pad|>": 4}
    for recipe, expected in (
        (GrpoRecipe(vllm="colocate"), {"bad_words": ["<|image_pad|>", "<|video_pad|>"]}),
        (GrpoRecipe(), {"suppress_tokens": [4, 9]}),
    ):
        assert grpo_arguments(recipe, PLAN, [1.0], tmp_path, False, banned)["generation_kwargs"] == expected


def test_the_extra_for_vllm_is_one_that_trl_and_this_stack_take() -> None:
    """vLLM 0.30.0 requires torch 2.13.0, and transformers 5.10.4 or later without an end."""
    import tomllib
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    (extra,) = (Requirement(each) for each in project["optional-dependencies"]["vllm"])
    theirs = [Requirement(each) for each in requires("trl") or ()]
    taken = next(each for each in theirs if each.name == "vllm" and str(each.marker) == 'extra == "vllm"')
    assert extra.specifier.contains("0.30.0")
    assert not extra.specifier.contains("0.31.0")
    assert taken.specifier.contains("0.30.0")
    torch = next(one for one in map(Requirement, project["dependencies"]) if one.name == "torch")
    assert torch.specifier.contains("2.13.0")


def test_vllm_reaches_trl(tmp_path: Path) -> None:
    recipe = GrpoRecipe(vllm="colocate", vllm_memory=0.4)
    colocated = grpo_arguments(recipe, PLAN, [1.0], tmp_path, on_cpu=False)
    assert (colocated["use_vllm"], colocated["vllm_mode"]) == (True, "colocate")
    assert colocated["vllm_gpu_memory_utilization"] == 0.4
    served = grpo_arguments(replace(recipe, vllm="server", vllm_url="http://a:8000"), PLAN, [1.0], tmp_path, False)
    assert (served["vllm_mode"], served["vllm_server_base_url"]) == ("server", "http://a:8000")


def test_lora_adapts_the_language_model_alone() -> None:
    pytest.importorskip("peft")
    config = lora_config(GrpoRecipe(lora_rank=16, lora_targets=("q_proj", "v_proj")))
    assert (config.r, config.lora_alpha) == (16, 32)
    assert config.target_modules == r"model\.language_model\..*\.(q_proj|v_proj)"


@pytest.mark.parametrize("name", ["ddp", "zero3", "fsdp", "two-nodes"])
def test_accelerate_reads_the_shipped_configurations(name: str) -> None:
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    path = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "bf16"
    assert config.num_processes == 8 * config.num_machines
    written = yaml.safe_load(path.read_text())
    assert written["distributed_type"] == str(config.distributed_type.value)
    if name == "fsdp":
        from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

        for layer in written["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(","):
            assert hasattr(modeling_qwen2_5_vl, layer)
