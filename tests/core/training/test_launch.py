"""`qinsight train --processes`: the configurations of the package, and the processes that Accelerate starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qinsight_cli.core.errors import QInsightError, UsageError
from qinsight_cli.core.training import launch


def test_the_shipped_configurations_are_accelerate_s() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert launch.names() == ["ddp", "fsdp", "two-nodes", "zero3"]
    for name in launch.names():
        assert load_config_from_file(str(launch.FOLDER / f"{name}.yaml")).num_processes in (8, 16)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fsdb", "no configuration 'fsdb'; did you mean fsdp"),
        ("x.yaml", "configurations are ddp, fsdp, two-nodes, zero3"),
    ],
)
def test_an_unknown_configuration_is_one_line(name: str, says: str) -> None:
    with pytest.raises(QInsightError, match=says):
        launch.config_file(name)


def test_a_configuration_that_needs_deepspeed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qinsight_cli.core.extras.is_installed", lambda name: False)
    with pytest.raises(QInsightError, match=r"--launch zero3 needs deepspeed, .* 'qinsight\[deepspeed\]'"):
        launch.config_file("zero3")
    assert launch.config_file("fsdp").is_file()


def test_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert launch.count("3") == 3
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(UsageError, match="neither a number of processes nor auto"):
            launch.count(wrong)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert launch.count("auto") == 4
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="no GPU is visible here"):
        launch.count("auto")


def test_a_way_to_share_without_processes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from qinsight_cli.cli import run

    assert run(["train", "--launch", "zero3"]) == 2
    assert "give --processes too" in capsys.readouterr().err
    assert run(["train", "--launch", "fsdp", "--processes", "1"]) == 2
    assert "--launch fsdp is for several processes, and here it is one" in capsys.readouterr().err


def test_a_model_is_not_divided_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate.commands.launch
    import torch

    launched: list[str] = []
    monkeypatch.setattr(accelerate.commands.launch, "launch_command", lambda given: launched.append(given.config_file))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for name in ("fsdp", "zero3"):
        with pytest.raises(
            QInsightError, match=rf"--launch {name} divides .* none is visible here: leave --launch out"
        ):
            launch.launch(["train"], 2, launch.FOLDER / f"{name}.yaml")
    assert launch.launch(["train"], 2, launch.FOLDER / "ddp.yaml") == 0
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert launch.launch(["train"], 2, launch.FOLDER / "fsdp.yaml") == 0
    assert [Path(file).stem for file in launched] == ["ddp", "fsdp"]


def qinsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qinsight_cli", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_two_processes_train_and_one_tells(random_model: Path, small_dataset: Path, tmp_path: Path) -> None:
    section = {
        "model": str(random_model),
        "seed": 1,
        "workers": 0,
        "bf16": False,
        "final_dtype": "float32",
        "phases": [
            {
                "name": "talk",
                "kind": "talk",
                "steps": 1,
                "batch": 2,
                "learning_rate": 1.0e-3,
                "mix": {"score": 1.0},
            }
        ],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"sft": section}))
    arguments = ["train", "--algorithm", "sft", "--recipe", tmp_path / "recipe.yaml", "--data", small_dataset]
    done = qinsight(*arguments, "--out", tmp_path / "run", "--processes", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [str(tmp_path / "run" / "final")]
    assert done.stderr.count("training ") == 1
    again = qinsight(*arguments, "--out", tmp_path / "run", "--processes", "2")
    assert again.returncode == 1
    assert "holds this run already; add --resume to continue it" in again.stderr
    assert "Traceback" not in again.stderr
