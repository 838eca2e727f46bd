"""benchmarks/claims.py: real runs at small size, and its statistics against scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from qinsight_cli.core.training.run_folder import read_lines


@pytest.fixture
def dataset(tmp_path: Path, photos: Callable[[str], NDArray[np.uint8]]) -> Path:
    """Rows of one photo train, those of the other are held out."""
    from qinsight_cli.cli import run

    clean = tmp_path / "clean"
    clean.mkdir()
    for name in ("coffee", "chelsea"):
        Image.fromarray(photos(name)).resize((96, 64)).save(clean / f"{name}.png")
    arguments = ["prepare", "synth", str(clean), "--out", str(tmp_path / "synth"), "--test-share", "0.5"]
    assert run([*arguments, "--tasks", "degradation,score", "--workers", "1", "--per-photo", "2"]) == 0
    return tmp_path / "synth"


@pytest.fixture
def trained_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands that train run in this process, without the curves of each run, which take most of their time."""
    from qinsight_cli.cli import run
    from qinsight_cli.core.training.grpo import curves

    def run_here(command: list[str]) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "qinsight_cli"]
        return subprocess.CompletedProcess(command, run(command[3:]))

    monkeypatch.setattr(claims.subprocess, "run", run_here)
    monkeypatch.setattr(curves, "draw_curves", lambda lines, folder: None)


@pytest.mark.usefixtures("trained_here")
def test_two_arms_train_are_told_and_kept(dataset: Path, random_model: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(claims.main)
    arguments = ["--data", str(dataset), "--model", str(random_model), "--out", str(tmp_path / "runs")]
    arguments += ["--arm", "joint", "--arm", "score", "--seeds", "2", "--steps", "1", "--eval-rows", "4"]
    sizes = ("total_batch=4", "per_device_batch=4", "num_generations=2", "max_completion_tokens=28", "bf16=false")
    arguments += [part for size in sizes for part in ("--set", size)]
    told = CliRunner().invoke(app, [*arguments, "--docs", str(tmp_path / "docs")])
    assert told.exit_code == 0, told.output
    changes = json.loads(told.stdout.splitlines()[-1])
    assert {name: len(group) for name, group in changes.items()} == {"joint": 2, "score": 2}
    lines = read_lines(tmp_path / "runs" / "score-2" / "metrics.jsonl")
    evaluations = [line["eval"] for line in lines if "eval" in line]
    assert changes["score"][1]["reward"] == [evaluations[0]["reward"], evaluations[-1]["reward"]]
    assert (tmp_path / "docs" / "claims.png").stat().st_size > 1_000
    weights = tmp_path / "runs" / "score-2" / "final" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    again = CliRunner().invoke(app, arguments)
    assert again.stdout.splitlines()[-1] == told.stdout.splitlines()[-1]
    assert weights.stat().st_mtime_ns == written


def test_intervals_are_students() -> None:
    values = [0.1, 0.25, 0.13]
    mean, half = claims.interval(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


def runs(*plcc: float) -> list[dict[str, Any]]:
    return [{"plcc": (0.5, value), "srcc": (0.5, value), "class_accuracy": (0.4, value)} for value in plcc]


def test_benefit_is_claimed_only_beyond_its_interval() -> None:
    (line, *_) = claims.benefit({"joint": runs(0.8, 0.81, 0.8), "score": runs(0.7, 0.71, 0.7)})[2:]
    assert line == "- plcc, joint less score alone: +0.100 ± 0.000: better together."
    (line, *_) = claims.benefit({"joint": runs(0.8, 0.6, 0.7), "score": runs(0.7, 0.71, 0.69)})[2:]
    assert line.endswith("no difference shown.")


def test_the_report_has_each_arm_and_the_thresholds_in_order() -> None:
    changes = {"joint": runs(0.8, 0.8, 0.8), "epsilon-0.15": runs(0.7, 0.7, 0.7), "epsilon-0.5": runs(0.6, 0.6, 0.6)}
    text = claims.report(changes, "setting")
    assert "| joint | plcc | 0.500 | 0.800 | +0.300 [+0.300, +0.300] |" in text
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| 0.")] == [
        "| 0.15",
        "| 0.35",
        "| 0.5",
    ]
