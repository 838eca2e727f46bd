"""The real recipe runner at small size: phases, resume, what a run folder holds, and what it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.sft import run
from qinsight_cli.core.training.sft.new_model import Shape
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe

SHAPE = Shape(
    vocabulary=320,
    vision_depth=2,
    vision_hidden=32,
    vision_heads=2,
    vision_intermediate=64,
    full_attention=(1,),
    text_hidden=64,
    text_layers=2,
    text_heads=2,
    text_kv_heads=1,
    text_intermediate=128,
    min_pixels=64 * 64,
    max_pixels=128 * 128,
)
MIX = {"score": 0.4, "degradation": 0.4, "comparison": 0.2}
RECIPE = SftRecipe(
    model="new",
    seed=1,
    network=SHAPE,
    workers=0,
    token_weights={"rating": 8.0},
    phases=(
        Phase("see", "see", 4, 4, 1e-3, {"degradation": 1.0}, crop=64),
        Phase("talk", "talk", 6, 4, 3e-3, MIX, vision_learning_rate=1e-3),
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_rows: list[Sample]) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run.run_sft(RECIPE, small_rows, out, [{"data": "synth"}])
    return out


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["train_loss"] for line in lines if "train_loss" in line]


def test_a_run_folder_holds_recipe_versions_metrics_and_a_model(finished: Path) -> None:
    settings = json.loads((finished / "recipe.json").read_text())
    assert settings["recipe"]["seed"] == 1
    assert settings["data"] == [{"data": "synth"}]
    assert json.loads((finished / "environment.json").read_text())["torch"] == torch.__version__
    assert len(losses(finished)) == 2
    assert not list(finished.glob("*/checkpoint-*"))  # a finished phase keeps its model, not its optimizer
    weights = load_file(finished / "final" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_the_final_folder_answers_at_once(finished: Path, small_rows: list[Sample], tmp_path: Path) -> None:
    from qinsight_cli.cli import run

    image = str(small_rows[0].images["image"])
    out = tmp_path / "out.csv"
    code = run(["score", image, "--model", str(finished / "final"), "--csv", str(out), "--max-new-tokens", "8"])
    assert code in (0, 3)  # six steps teach no answers; the row is there either way
    assert len(out.read_text().splitlines()) == 2


def test_each_phase_moves_what_it_should(finished: Path) -> None:
    new = load_file(finished / "0-new" / "model.safetensors")
    seen = load_file(finished / "1-see" / "done" / "model.safetensors")
    talked = load_file(finished / "2-talk" / "done" / "model.safetensors")
    for name, value in new.items():
        moved = not torch.equal(value.float(), seen[name].float())
        assert moved == ("visual" in name), name
    assert all(not torch.equal(seen[name], talked[name]) for name in seen if name.endswith("proj.weight"))


def test_talking_learns(small_rows: list[Sample], finished: Path, tmp_path: Path) -> None:
    phase = Phase("talk", "talk", 90, 8, 5e-3, {"degradation": 1.0})
    run.run_sft(replace(RECIPE, model=str(finished / "final"), phases=(phase,)), small_rows, tmp_path / "long", [])
    lines = [json.loads(line) for line in (tmp_path / "long" / "metrics.jsonl").read_text().splitlines()]
    course = [line["loss"] for line in lines if "loss" in line]
    assert course[-1] < 0.6 * course[0]


class Stopped(Exception):
    pass


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes training die after a number of steps, as a killed process would: what is on disk is all that is left."""
    from transformers import Trainer

    original = Trainer.training_step

    def arm(steps: int) -> None:
        count = 0

        def step(self: Any, *arguments: Any, **settings: Any) -> Any:
            nonlocal count
            count += 1
            if count > steps:
                raise Stopped
            return original(self, *arguments, **settings)

        monkeypatch.setattr(Trainer, "training_step", step)

    return arm


def test_a_killed_run_resumes_to_the_same_weights(
    small_rows: list[Sample], finished: Path, tmp_path: Path, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    out = tmp_path / "resumed"
    stop_after(7)  # four steps of the first phase, three of the second, whose last checkpoint is at two
    with pytest.raises(Stopped):
        run.run_sft(RECIPE, small_rows, out, [{"data": "synth"}])
    assert (out / "1-see" / "done").is_dir()
    assert (out / "2-talk" / "checkpoint-2").is_dir()
    torn = out / "2-talk" / "checkpoint-4"  # a kill while it was written
    torn.mkdir()
    (torn / "config.json").write_text("{")
    monkeypatch.undo()
    run.run_sft(RECIPE, small_rows, out, [{"data": "synth"}])
    whole = load_file(finished / "2-talk" / "done" / "model.safetensors")
    resumed = load_file(out / "2-talk" / "done" / "model.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_a_folder_of_another_recipe_is_refused(small_rows: list[Sample], finished: Path) -> None:
    with pytest.raises(QInsightError, match="another recipe"):
        run.run_sft(replace(RECIPE, seed=2), small_rows, finished, [{"data": "synth"}])


def test_a_missing_picture_is_named_before_anything_is_written(small_rows: list[Sample], tmp_path: Path) -> None:
    gone = replace(small_rows[0], images={"image": tmp_path / "gone.png"})
    with pytest.raises(QInsightError, match=r"gone\.png is not there"):
        run.run_sft(RECIPE, [*small_rows, gone], tmp_path / "run", [])
    assert not (tmp_path / "run").exists()
