"""The table of a run on a terminal, and its lines elsewhere."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.recipe import load_grpo, load_sft
from qinsight_cli.core.training.reporting import check_tracker
from qinsight_cli.core.training.run_folder import RunFolder
from qinsight_cli.core.training.watch import WINDOW, Watch, curve, number

ROWS = {"reward": "reward", "r_scr": "score", "kl": "KL", "truncated": "cut off"}


def screen(watch: Watch, width: int = 60) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(watch.table())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_table_has_the_last_value_the_mean_and_the_curve() -> None:
    watch = Watch(ROWS, "a-run")
    for step in range(1, 41):
        values = {"reward": step / 100, "kl": 1e-5 if step % 2 else None, "step": step, "other": 7.0}
        watch.step(step, 200, values, "12 min", "")
    lines = screen(watch)
    assert lines[0].split() == ["a-run", "step", "40", "of", "200", "12", "min", "left"]
    table = {line.split("  ")[0].strip(): line.split() for line in lines[3:]}
    assert table.keys() == {"reward", "KL"}, "what is never logged has no line"
    mean = sum(step / 100 for step in range(41 - WINDOW, 41)) / WINDOW
    assert table["reward"][1:3] == ["0.4", f"{mean:.4g}"]
    assert table["KL"][1:3] == ["1e-05", "1e-05"]
    assert table["reward"][3][0] == "▁"
    assert table["reward"][3][-1] == "█"
    assert max(map(len, lines)) <= 60


def test_a_run_that_goes_on_has_its_whole_curve() -> None:
    watch = Watch(ROWS)
    watch.recall([{"step": 1, "reward": 0.0}, {"step": 1, "eval": {"reward": 9.0}}, {"step": 2, "reward": 1.0}])
    watch.step(3, 4, {"reward": 0.5}, "", "")
    (line,) = [line for line in screen(watch) if line.startswith("reward")]
    assert line.split()[1:] == ["0.5", "0.5", "▁█▅"]


@pytest.mark.parametrize(
    ("values", "width", "marks"),
    [
        ([1.0], 8, "▁"),
        ([2.0, 2.0, 2.0], 8, "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([0, 2, 6, 8], 2, "▁█"),
        ([0, 0, 8], 2, "▁█"),
    ],
)
def test_a_curve(values: list[float], width: int, marks: str) -> None:
    assert curve(values, width) == marks


def test_numbers() -> None:
    assert [number(each) for each in (0.12345, 1234.5, 2e-6, 0.0)] == ["0.1235", "1234", "2e-06", "0"]


def test_on_a_terminal_the_table_stands_below_other_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=70, height=30, color_system=None)
    monkeypatch.setenv("TERM", "xterm")
    with Watch(ROWS, "a-run", console) as watch:
        watch.step(1, 2, {"reward": 0.25}, "1 min", "step 1/2  reward 0.2500")
        print("a warning", file=sys.stderr)
    said = written.getvalue()
    assert "a warning" in said
    assert said.rindex("a-run  step 1 of 2") > said.index("a warning")
    assert "step 1/2" not in said, "the line is for pipes"
    assert "\x1b[?25l" in said
    assert said.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_an_error_leaves_the_terminal_as_it_was() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=70, color_system=None)
    with pytest.raises(RuntimeError), Watch(ROWS, "", console):
        raise RuntimeError
    assert written.getvalue().count("\x1b[?25h") == 1


def test_in_a_pipe_each_step_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with Watch(ROWS) as watch:
        watch.step(1, 2, {"reward": 0.25}, "3 min", "step 1/2  reward 0.2500")
        watch.step(2, 2, {"reward": 0.5}, "", "step 2/2  reward 0.5000")
    assert capfd.readouterr().err == "step 1/2  reward 0.2500  3 min left\nstep 2/2  reward 0.5000\n"


# --- the trackers ---------------------------------------------------------------------------------------------------


def test_a_tracker_reaches_the_trainers_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    import torch
    from transformers import TrainingArguments
    from trl import SFTConfig

    from qinsight_cli.core.training.grpo.trl_settings import grpo_arguments
    from qinsight_cli.core.training.sft.run import SftRun, _arguments

    recipe = load_sft("tiny", {"report_to": "trackio"})
    run = SftRun(recipe, [], {}, RunFolder(tmp_path / "a-run", "sft"))
    model: Any = SimpleNamespace(network=SimpleNamespace(device=torch.device("cpu")))
    for kind in (TrainingArguments, SFTConfig):
        arguments = _arguments(kind, run, model, 1)
        assert arguments.report_to == ["trackio"]
        assert arguments.run_name == f"a-run-{recipe.phases[0].name}"
    schedule: Any = SimpleNamespace(steps=1, batch=SimpleNamespace(per_device=1, accumulation=1))
    given = grpo_arguments(load_grpo("tiny", {"report_to": "wandb"}), schedule, [1.0], tmp_path / "b-run", True)
    assert (given["report_to"], given["run_name"]) == ("wandb", "b-run")


def test_a_tracker_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracker("none")
    monkeypatch.setattr("qinsight_cli.core.training.reporting.is_installed", lambda name: False)
    with pytest.raises(QInsightError, match="--report-to wandb needs wandb, which is not installed: pip install wandb"):
        check_tracker("wandb")


def test_a_run_begun_before_a_key_was_there_goes_on(tmp_path: Path) -> None:
    recipe = load_sft("tiny", {})
    folder = RunFolder(tmp_path / "run", "sft")
    folder.open(recipe, [], False)
    path = folder.path / "recipe.yaml"
    content = yaml.safe_load(path.read_text())
    del content["sft"]["report_to"]
    path.write_text(yaml.safe_dump(content))
    folder.check_resumable(recipe, [], True)
    with pytest.raises(QInsightError, match="report_to 'none', not 'wandb'"):
        folder.check_resumable(load_sft("tiny", {"report_to": "wandb"}), [], True)
