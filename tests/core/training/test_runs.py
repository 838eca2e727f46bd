"""The list of runs, and the time that a run has left."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from qinsight_cli import cli
from qinsight_cli.core.training.runs import find_runs, time_left

NOW = datetime(2026, 5, 1, 12)


def make_run(folder: Path, algorithm: str, steps: int, age: timedelta, done: bool = False) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({algorithm: {"model": "tiny"}}))
    (folder / "run.json").write_text(json.dumps({"data": [{"data": "koniq"}, {"data": "kadis"}, {"data": "koniq"}]}))
    lines = [json.dumps({"step": step, "reward": step / 10}) + "\n" for step in range(1, steps + 1)]
    lines += [json.dumps({"step": steps, "eval": {"reward": 1.0}}) + "\n", '{"step": 99'] if steps else []
    (folder / "metrics.jsonl").write_text("".join(lines))
    when = (NOW - age).timestamp()
    os.utime(folder / "metrics.jsonl", (when, when))
    if done:
        (folder / "final").mkdir()
        (folder / "final" / "config.json").write_text("{}")


def test_runs_by_age_with_their_state(tmp_path: Path) -> None:
    make_run(tmp_path / "old", "sft", 7, timedelta(days=2), done=True)
    make_run(tmp_path / "cut", "grpo", 5, timedelta(hours=3))
    make_run(tmp_path / "now", "grpo", 12, timedelta(minutes=1))
    make_run(tmp_path / "empty", "grpo", 0, timedelta(days=1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.yaml").write_text("no: [run")
    found = find_runs(tmp_path, NOW)
    assert [(run.folder.name, run.state, run.steps) for run in found] == [
        ("now", "running", 12),
        ("cut", "stopped", 5),
        ("empty", "not begun", 0),
        ("old", "done", 7),
    ]
    assert [run.reward for run in found] == [1.2, 0.5, None, 0.7]
    assert (found[0].algorithm, found[0].model, found[0].data) == ("grpo", "tiny", "koniq, kadis")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "--list"]) == 0
    assert "no runs in runs" in capfd.readouterr().err
    make_run(tmp_path / "runs" / "mine", "grpo", 3, timedelta(0), done=True)
    assert cli.run(["train", "--list"]) == 0
    shown = capfd.readouterr().out
    assert "runs/mine" in shown
    assert "0.300" in shown
    assert "done" in shown


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [(60.0, 10, "1 h 30 min"), (6.0, 90, "1 min"), (1.0, 90, "under a minute"), (60, 40, "1 h 00 min"), (60, 100, "")],
)
def test_time_left(seconds: float, step: int, words: str) -> None:
    assert time_left({"seconds": seconds}, step, 100) == words
    assert time_left({}, step, 100) == ""
