"""Supervised fine-tuning of a large model: frozen bfloat16 weights under an adapter, steps in parts, processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import processes
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.datasets import collect
from qinsight_cli.core.training.recipe import load_sft
from qinsight_cli.core.training.run_folder import read_lines, settings
from qinsight_cli.core.training.sft import recipe as recipes
from qinsight_cli.core.training.sft import run, trainers
from qinsight_cli.core.training.sft.large import check_processes
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe

MIX = {"score": 0.5, "degradation": 0.5}
TALK = Phase("answers", "talk", 2, 4, 1e-3, MIX, accumulation=2)


@pytest.fixture
def plain(random_model: Path) -> SftRecipe:
    return SftRecipe(
        model=str(random_model),
        seed=1,
        phases=(TALK,),
        workers=0,
        bf16=False,
        final_dtype="float32",
        max_pixels=64 * 96,
    )


def test_an_adapter_on_frozen_bfloat16_weights_leaves_a_plain_model(
    plain: SftRecipe, small_rows: list[Sample], random_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    chosen = replace(
        plain,
        dtype="bfloat16",
        bf16=True,
        final_dtype="bfloat16",
        lora_rank=4,
        freeze_vision=True,
        lora_targets=("q_proj", "down_proj"),
        gradient_checkpointing=True,
        phases=(replace(TALK, learning_rate=0.05, steps=6),),
    )
    final = run.run_sft(chosen, small_rows, tmp_path / "run", [])
    before, after = (load_file(folder / "model.safetensors") for folder in (random_model, final))
    assert after.keys() == before.keys()
    assert {value.dtype for value in after.values()} == {torch.bfloat16}
    moved = {name for name, value in before.items() if not torch.equal(after[name], value.bfloat16())}
    assert moved == {
        name
        for name in before
        if name.endswith(("self_attn.q_proj.weight", "mlp.down_proj.weight")) and "visual" not in name
    }


def test_the_parts_of_a_step_count_as_one(
    plain: SftRecipe, small_rows: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step is the mean of its parts', each a batch of its own."""
    original, losses, sizes = trainers.TalkingTrainer.compute_loss, [], []

    def recording(self: Any, model: Any, inputs: dict, *more: Any, **settings: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        loss = original(self, model, inputs, *more, **settings)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(trainers.TalkingTrainer, "compute_loss", recording)
    monkeypatch.setattr(run, "LOG_EVERY", 1)
    run.run_sft(plain, small_rows, tmp_path / "run", [])
    assert sizes == [2, 2, 2, 2]
    told = [line["loss"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")]
    assert told == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2], rel=1e-3)


def test_two_processes_make_the_updates_of_one_that_takes_them_in_parts(
    plain: SftRecipe, small_dataset: Path, tmp_path: Path
) -> None:
    samples, data = collect([small_dataset], MIX)
    one = run.run_sft(plain, samples, tmp_path / "one", data)
    divided = replace(plain, phases=(replace(TALK, accumulation=1),))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"sft": settings(divided)}))
    arguments = ["train", "--algorithm", "sft", "--recipe", tmp_path / "recipe.yaml", "--data", small_dataset]
    told = processes.run_two([*arguments, "--out", tmp_path / "two"])
    assert [out.splitlines() for out in told] == [[str(tmp_path / "two" / "final")], []]
    weights = [load_file(final / "model.safetensors") for final in (one, tmp_path / "two" / "final")]
    start = load_file(Path(plain.model) / "model.safetensors")
    moved = sum((weights[0][name] - value).abs().sum().item() for name, value in start.items())
    apart = sum((weights[0][name] - weights[1][name]).abs().sum().item() for name in start)
    assert apart < 0.02 * moved
    assert not list(tmp_path.rglob("*.part"))


def test_the_recipe_of_the_papers_row_is_whole() -> None:
    chosen = load_sft("paper-qwen-sft")
    (phase,) = chosen.phases
    assert (chosen.model, chosen.dtype, chosen.lora_rank > 0) == ("qwen2.5-vl-7b", "bfloat16", True)
    assert phase.steps * phase.batch == pytest.approx(14_000 * 10, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dtype": "bfloat16"}, "bfloat16 cannot take updates as small"),
        ({"lora_rank": 4, "model": "new"}, "lora_rank adapts an existing model"),
        ({"lora_targets": ("q_porj",)}, "no projection 'q_porj'"),
        ({"phases": (replace(TALK, batch=5),)}, "a batch of 5 cannot be cut into 2 equal parts"),
    ],
)
def test_what_cannot_work_is_one_line(plain: SftRecipe, changes: Any, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        recipes.check(replace(plain, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "environment", "says"),
    [
        ({}, {"WORLD_SIZE": "4"}, "cannot be cut into 2 equal parts on each of 4 processes"),
        ({"model": "new"}, {"WORLD_SIZE": "2"}, "trained in one process"),
        ({}, {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, "keeps whole weights in each process"),
    ],
)
def test_what_several_processes_cannot_do_is_one_line(
    plain: SftRecipe, changes: Any, environment: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(QInsightError, match=says):
        check_processes(replace(plain, **changes))
