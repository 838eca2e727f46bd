"""The recipe of small SFT runs in tests, the comparison of two runs, and the probabilities of a drawn rating."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file

from qinsight_cli.core.training.run_folder import read_lines
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe
from small_networks import SMALL

MIX = {"score": 0.4, "degradation": 0.4, "comparison": 0.2}
RECIPE = SftRecipe(
    model="new",
    seed=1,
    network=SMALL,
    workers=0,
    token_weights={"rating": 8.0},
    rating_spread=0.4,
    phases=(
        Phase("see", "see", 4, 4, 1e-3, {"degradation": 1.0}, crop=64),
        Phase("again", "see", 2, 4, 1e-3, {"degradation": 1.0}, crop=64),
        Phase("talk", "talk", 6, 4, 3e-3, MIX, vision_learning_rate=1e-3),
    ),
)
DATA = [{"data": "synth", "sha256": "ab", "folder": "data/synth", "split": "train", "rows": 1}]


def assert_same_run(out: Path, whole: Path) -> None:
    for name in ("3-talk/done", "final"):
        first, second = (load_file(folder / name / "model.safetensors") for folder in (whole, out))
        for weight, value in first.items():
            torch.testing.assert_close(second[weight], value, rtol=0, atol=0, msg=weight)
    first, second = (read_lines(folder / "metrics.jsonl") for folder in (whole, out))
    assert second == first


def gaussian(rating: float, spread: float) -> dict[str, float]:
    """ "3.4" -> its probability, over the ratings of one decimal."""
    names = [f"{tens / 10:.1f}" for tens in range(10, 51)]
    density = [math.exp(-((float(name) - rating) ** 2) / 2 / spread**2) for name in names]
    return {name: value / sum(density) for name, value in zip(names, density, strict=True)}
