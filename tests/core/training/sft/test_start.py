"""Runs with a convolutional vision module: the new model at the start, frozen blocks, and kept cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from killed_training import Killed, killed_after
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.training.sft import new_model, run, start
from qinsight_cli.core.training.sft.recipe import Phase
from sft_recipe import DATA, RECIPE
from small_networks import SMALL

CONV = replace(
    RECIPE,
    network=replace(SMALL, encoder="efficientnet-lite0", vision_hidden=48),
    final_dtype="float32",
    phases=(
        Phase("see", "see", 2, 4, 1e-3, {"degradation": 1.0}, crop=64, frozen_blocks=5),
        Phase("talk", "talk", 2, 4, 1e-3, {"score": 1.0}, crop=64, frozen_blocks=16),
    ),
)


@pytest.fixture
def random_encoder(random_conv_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the ImageNet weights, which not every machine has."""
    prefix = "model.visual.trunk."
    weights = load_file(random_conv_model / "model.safetensors")
    trunk = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    monkeypatch.setattr(new_model, "encoder_weights", lambda name: trunk)


def test_a_kill_before_the_vision_module_is_standardised_changes_nothing(
    small_rows: list[Sample], tmp_path: Path, random_encoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "PICTURES", 12)
    whole, out = tmp_path / "whole", tmp_path / "resumed"
    run.run_sft(CONV, small_rows, whole, DATA)
    with monkeypatch.context() as patch:

        def stop(*_: Any) -> None:
            raise Killed

        patch.setattr(start, "_standardise", stop)
        with pytest.raises(Killed):
            run.run_sft(CONV, small_rows, out, DATA)
    half = out / "0-new.part"  # what a kill would have left of it
    half.mkdir()
    (half / "config.json").write_text("{")
    run.run_sft(CONV, small_rows, out, DATA, resume=True)
    first, second = (load_file(folder / "final" / "model.safetensors") for folder in (whole, out))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)
    new = load_file(whole / "0-new" / "model.safetensors")
    assert new["model.visual.center"].abs().max() > 0.1
    assert not torch.equal(new["model.visual.scale"], torch.ones_like(new["model.visual.scale"]))
    seen = load_file(whole / "1-see" / "done" / "model.safetensors")
    still = ("model.visual.trunk.stem.", *(f"model.visual.trunk.blocks.{number}." for number in range(5)))
    for name, value in new.items():
        moved = not torch.equal(value, seen[name])
        assert moved == ("visual" in name and not name.startswith(still)), name
    for name, value in seen.items():
        moved = not torch.equal(value, first[name])
        assert moved == ("trunk" not in name), name


def test_phases_with_kept_cells_train_all_but_the_trunk_and_resume(
    small_rows: list[Sample], tmp_path: Path, random_conv_model: Path
) -> None:
    kept = [replace(phase, crop=0, frozen_blocks=16, keep_cells=True) for phase in CONV.phases]
    recipe = replace(CONV, model=str(random_conv_model), phases=tuple(kept))
    run.run_sft(recipe, small_rows, tmp_path / "whole", DATA)
    with killed_after(3):  # in the second phase
        run.run_sft(recipe, small_rows, tmp_path / "resumed", DATA)
    run.run_sft(recipe, small_rows, tmp_path / "resumed", DATA, resume=True)
    first, second = (load_file(tmp_path / each / "final" / "model.safetensors") for each in ("whole", "resumed"))
    start = load_file(random_conv_model / "model.safetensors")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)
        assert torch.equal(value, start[name].float()) == ("trunk" in name), name
