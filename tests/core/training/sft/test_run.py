"""The real recipe runner at small size: phases, resume, what a run folder holds, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from killed_training import killed_after
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.recipe import load_sft
from qinsight_cli.core.training.run_folder import read_lines, settings
from qinsight_cli.core.training.sft import run, trainers
from qinsight_cli.core.training.sft.recipe import Phase
from sft_recipe import DATA, RECIPE, assert_same_run


def test_a_run_folder_holds_recipe_versions_metrics_and_a_model(finished: Path) -> None:
    assert settings(load_sft(str(finished / "recipe.yaml"))) == settings(RECIPE)
    told = json.loads((finished / "run.json").read_text())
    assert told["data"] == DATA
    assert told["environment"]["torch"] == torch.__version__
    lines = read_lines(finished / "metrics.jsonl")
    assert [(line["phase"], line["step"]) for line in lines] == [
        *(("see", step) for step in range(1, 5)),
        *(("again", step) for step in (5, 6)),
        *(("talk", step) for step in range(7, 13)),
    ]
    assert not list(finished.glob("*/checkpoint-*"))  # a finished phase keeps its model, not its optimizer
    assert not list(finished.rglob("*.part"))
    modes = {path.stat().st_mode for path in (finished / "final").iterdir()}
    assert len(modes) == 1  # who may read the configuration may read the weights
    weights = load_file(finished / "final" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    after = load_file(finished / "3-talk" / "done" / "model.safetensors")
    for name, value in after.items():
        torch.testing.assert_close(weights[name], value.bfloat16(), rtol=0, atol=0)


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
    talked = load_file(finished / "3-talk" / "done" / "model.safetensors")
    for name, value in new.items():
        moved = not torch.equal(value.float(), seen[name].float())
        assert moved == ("visual" in name), name
    assert all(not torch.equal(seen[name], talked[name]) for name in seen if name.endswith("proj.weight"))


def test_heads_live_on_from_one_seeing_phase_to_the_next(finished: Path) -> None:
    first, second = (load_file(finished / phase / trainers.HEADS) for phase in ("1-see", "2-again"))
    assert first.keys() == second.keys()
    assert all("heads" in name for name in first)
    weight = "linear_heads.1.weight"
    moved = (second[weight] - first[weight]).abs().max()
    # Two steps of Adam move a weight by at most about twice the learning rate; new heads would differ by far more.
    assert 0 < moved < 5e-3 < first[weight].abs().max()


def test_talking_learns(small_rows: list[Sample], finished: Path, tmp_path: Path) -> None:
    phase = Phase("talk", "talk", 60, 8, 5e-3, {"degradation": 1.0})
    recipe = replace(RECIPE, model=str(finished / "final"), phases=(phase,))
    run.run_sft(recipe, small_rows, tmp_path / "long", [])
    course = [line["loss"] for line in read_lines(tmp_path / "long" / "metrics.jsonl")]
    assert len(course) == 6
    assert course[-1] < 0.6 * course[0]


def test_a_run_killed_again_and_again_resumes_to_the_same_steps_and_weights(
    small_rows: list[Sample], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    monkeypatch.setattr(run, "LOG_EVERY", 1)
    out = tmp_path / "resumed"
    kills = (
        1,  # before the first checkpoint of the first phase
        3,  # after a checkpoint with heads
        2,  # at the beginning of a phase that takes over the heads
        3,  # before the first checkpoint of the talking phase
        3,  # after one
    )
    for number, steps in enumerate(kills):
        with killed_after(steps):
            run.run_sft(RECIPE, small_rows, out, DATA, resume=number > 0)
        phase = max(out.glob("[1-3]-*"))
        for torn in (phase / "checkpoint-5", phase / "done.part"):  # left by a kill while a folder was written
            torn.mkdir(exist_ok=True)
            (torn / "config.json").write_text("{")
        with pytest.raises(QInsightError, match="add --resume"):
            run.run_sft(RECIPE, small_rows, out, DATA)
    assert (out / "3-talk" / "checkpoint-2").is_dir()
    run.run_sft(RECIPE, small_rows, out, DATA, resume=True)
    assert_same_run(out, finished)


def test_torn_heads_are_one_line(small_rows: list[Sample], finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "torn"
    with killed_after(4):
        run.run_sft(RECIPE, small_rows, out, DATA)
    heads = out / "1-see" / trainers.HEADS
    heads.write_bytes(heads.read_bytes()[:-10])
    with pytest.raises(QInsightError, match=r"seeing_heads\.safetensors cannot be read") as caught:
        run.run_sft(RECIPE, small_rows, out, DATA, resume=True)
    assert "\n" not in str(caught.value)


def test_the_model_is_read_once(small_rows: list[Sample], finished: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from qinsight_cli.core.models import loading

    read: list[Path] = []
    original = loading.load_network

    def counting(folder: Path, *arguments: Any, **settings: Any) -> Any:
        read.append(folder)
        return original(folder, *arguments, **settings)

    monkeypatch.setattr(loading, "load_network", counting)
    phases = tuple(replace(phase, steps=1) for phase in RECIPE.phases)
    run.run_sft(replace(RECIPE, model=str(finished / "final"), phases=phases), small_rows, tmp_path / "run", [])
    assert read == [finished / "final"]


def test_the_first_loss_that_is_not_finite_ends_the_run(
    small_rows: list[Sample], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    monkeypatch.setattr(run, "LOG_EVERY", 1)
    original, out = trainers.TalkingTrainer.compute_loss, tmp_path / "run"

    def diverging(self: Any, *arguments: Any, **settings: Any) -> Any:
        loss = original(self, *arguments, **settings)
        return loss * float("nan") if self.state.global_step == 3 else loss

    with monkeypatch.context() as patch:
        patch.setattr(trainers.TalkingTrainer, "compute_loss", diverging)
        with pytest.raises(QInsightError, match="step 4: the loss is nan; rows ") as caught:
            run.run_sft(RECIPE, small_rows, out, DATA)
    assert str(caught.value).endswith(f"the last good checkpoint is {out / '3-talk' / 'checkpoint-2'}")
    assert any(row.id in str(caught.value) for row in small_rows)
    assert "\n" not in str(caught.value)
    run.run_sft(RECIPE, small_rows, out, DATA, resume=True)
    assert_same_run(out, finished)


def test_a_full_disk_says_so_and_the_run_goes_on(
    small_rows: list[Sample], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    monkeypatch.setattr(run, "LOG_EVERY", 1)
    out, original = tmp_path / "full", torch.save
    with monkeypatch.context() as patch:
        # What torch's zip writer says of a disk without room has no errno.
        patch.setattr(torch, "save", lambda value, path, *a, **k: original(value, "/dev/full"))
        with pytest.raises(QInsightError, match="is full; make room and run again with --resume"):
            run.run_sft(RECIPE, small_rows, out, DATA)
    run.run_sft(RECIPE, small_rows, out, DATA, resume=True)
    assert_same_run(out, finished)


def test_a_folder_of_another_recipe_is_refused(small_rows: list[Sample], finished: Path) -> None:
    with pytest.raises(QInsightError, match="holds a run with seed 1, not 2"):
        run.run_sft(replace(RECIPE, seed=2), small_rows, finished, DATA, resume=True)
    changed = replace(RECIPE, phases=(replace(RECIPE.phases[0], steps=5), *RECIPE.phases[1:]))
    with pytest.raises(QInsightError, match=r"holds a run with phases\.1\.steps 4, not 5"):
        run.run_sft(changed, small_rows, finished, DATA, resume=True)


def test_pictures_that_cannot_be_used_are_named_before_anything_is_written(
    small_rows: list[Sample], tmp_path: Path
) -> None:
    strip = tmp_path / "strip.png"
    Image.new("RGB", (450, 2), (90, 20, 10)).save(strip)
    for path, says in ((tmp_path / "gone.png", "is missing"), (strip, "450 x 2 pixels: one side is over 200 times")):
        row = replace(small_rows[0], images={"image": path}, files={})
        with pytest.raises(QInsightError, match=says) as caught:
            run.run_sft(RECIPE, [*small_rows, row], tmp_path / "run", [])
        assert path.name in str(caught.value)
        with pytest.raises(QInsightError, match=says):
            run.describe(RECIPE, [*small_rows, row])
    assert not (tmp_path / "run").exists()


def test_the_dry_run_tells_of_rows_and_phases(small_rows: list[Sample]) -> None:
    told = run.describe(RECIPE, small_rows)
    assert "rating_spread: 0.4" in told
    rows = sum(row.task == "degradation" for row in small_rows)
    assert f"phase 1     see (see), 4 steps of 4 pictures, 16 in all, drawn from {rows:,} rows" in told
    with pytest.raises(QInsightError, match="asks for score/koniq rows and the data has none"):
        run.describe(replace(RECIPE, phases=(replace(RECIPE.phases[0], mix={"score/koniq": 1.0}),)), small_rows)
