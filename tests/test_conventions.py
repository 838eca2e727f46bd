"""The gate for other repositories: the option, the GitHub Action and the pre-commit hook."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import pixel_engine
from qinsight_cli import cli

ROOT = Path(__file__).parents[1]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven grey pictures, rated 1 + 0.63 i, and PixelEngine in the place of every model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(7):
        Image.new("RGB", (20, 16), (40 * i,) * 3).save(f"photos/{i}.png")
    monkeypatch.setattr("qinsight_cli.core.engines.local.load_engine", lambda *_: pixel_engine.PixelEngine())
    return [f"photos/{i}.png" for i in range(7)]


def test_the_gate_closes_below_the_limit(photos: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["score", *photos[3:], "--fail-below", "2.8"]) == 0
    capfd.readouterr()
    assert cli.run(["score", "photos", "--fail-below", "2.2", "--csv", "out.csv"]) == 4
    said = capfd.readouterr().err
    assert "2 of 7 rated below 2.2: photos/0.png, photos/1.png" in said
    assert len(Path("out.csv").read_text().splitlines()) == 8
    assert cli.run(["score", "photos", "--fail-below", "4.9"]) == 4
    assert "photos/4.png and 2 more" in capfd.readouterr().err


def test_a_picture_without_a_rating_does_not_pass(photos: list[str]) -> None:
    Path("broken.png").write_bytes(b"none")
    assert cli.run(["score", photos[6], "broken.png", "--fail-below", "2"]) == 3
    assert cli.run(["score", photos[0], "broken.png", "--fail-below", "2"]) == 4
    assert cli.run(["score", photos[0], "--fail-below", "0"]) == 2


def test_the_action_runs_what_it_says(photos: list[str], tmp_path: Path) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    *_, score = action["runs"]["steps"]
    # The expressions of a workflow, filled in with the defaults and what a user would give.
    inputs = {name: each.get("default", "") for name, each in action["inputs"].items()} | {"paths": "photos\n"}
    values = {name: inputs[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in score["env"].items()}
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "qinsight"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from pixel_engine import PixelEngine\nfrom qinsight_cli.core.engines import local\n"
        "local.load_engine = lambda *_: PixelEngine()\nfrom qinsight_cli import cli\ncli.main()\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    environment = {**os.environ, **values, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", score["run"]], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "3 of 7 rated below 2.5" in done.stderr
    assert len(Path("qinsight.csv").read_text().splitlines()) == 8


def test_the_hook_names_a_command_that_is_there(photos: list[str]) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *words = hook["entry"].split()
    assert program == "qinsight"
    arguments: list[Any] = [*words, *hook["args"]]
    assert cli.run([*arguments, *photos[3:]]) == 0
    assert cli.run([*arguments, *photos]) == 4


def test_the_container_copies_what_is_there_and_what_the_package_is_built_from() -> None:
    lines = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines()]
    copied = {name for line in lines if line[:1] == ["COPY"] for name in line[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "qinsight_cli", project["readme"], *project["license-files"]} <= copied
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not copied & set(ignored)
