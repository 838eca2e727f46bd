"""The run folder: what is refused, what is forgotten on a resume, and the curves."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo import curves
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.recipe import load_grpo
from qinsight_cli.core.training.run_folder import (
    WHOLE,
    RunFolder,
    algorithm_of,
    full_disk_in_one_line,
    is_full_disk,
    metrics_line,
    read_lines,
    whole_folder,
)

DATA = [{"data": "koniq", "sha256": "ab", "folder": "data/koniq", "split": "train", "rows": 3}]


def test_the_resolved_recipe_is_a_recipe(tmp_path: Path) -> None:
    recipe = GrpoRecipe(beta=0.04, lora_targets=("q_proj",), mix={"score": 2.0})
    folder = RunFolder(tmp_path / "run")
    folder.open(recipe, DATA, resume=False)
    assert folder.resume_point() is None
    assert load_grpo(str(tmp_path / "run" / "recipe.yaml")) == recipe
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["data"] == DATA
    assert {"torch", "trl", "python"} <= set(run["environment"])


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(GrpoRecipe(), DATA, resume=False)
    with pytest.raises(QInsightError, match="add --resume"):
        folder.open(GrpoRecipe(), DATA, resume=False)
    with pytest.raises(QInsightError, match=r"holds a run with beta 0\.001, not 0\.04"):
        folder.open(GrpoRecipe(beta=0.04), DATA, resume=True)
    with pytest.raises(QInsightError, match="on other data: koniq"):
        folder.open(GrpoRecipe(), [{**DATA[0], "sha256": "cd"}], resume=True)
    folder.open(GrpoRecipe(), [{**DATA[0], "folder": "moved/koniq"}], resume=True)
    with pytest.raises(QInsightError, match="holds a run of grpo, not of sft"):
        RunFolder(tmp_path, "sft").open(GrpoRecipe(), DATA, resume=True)
    assert algorithm_of(tmp_path) == "grpo"


@pytest.mark.parametrize("content", ["", "[1]", '"x"', "{", '{"data": 5}', '{"data": [3]}', "[" * 100_000])
@pytest.mark.parametrize("name", ["run.json", "recipe.yaml", "metrics.jsonl"])
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    folder = RunFolder(tmp_path)
    folder.open(GrpoRecipe(), DATA, resume=False)
    (tmp_path / name).write_text(content + "\n")
    with pytest.raises(QInsightError) as caught:
        (folder.open(GrpoRecipe(), DATA, resume=True), folder.resume_point(before=1))
    assert name in str(caught.value) or "holds a run of" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(QInsightError, match="is not empty"):
        RunFolder(tmp_path).open(GrpoRecipe(), DATA, resume=False)
    with pytest.raises(QInsightError, match="holds no GRPO run to resume"):
        RunFolder(tmp_path / "new").open(GrpoRecipe(), DATA, resume=True)
    for content in (None, "- a\n", "grpo: [", "ppo: {}\n", "grpo: {}\n"):  # the last one lacks run.json
        if content is not None:
            (tmp_path / "recipe.yaml").write_text(content)
        with pytest.raises(QInsightError, match="holds no run to resume"):
            algorithm_of(tmp_path)


def test_a_checkpoint_cut_short_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(GrpoRecipe(), DATA, resume=False)
    for step in (80, 90, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 100:
            (tmp_path / f"checkpoint-{step}" / WHOLE).touch()
    folder.append(folder.metrics, [{"step": step, "text": "a\u2028b"} for step in range(0, 101, 10)])
    with folder.metrics.open("a") as file:
        file.write('{"step": 10')  # a kill in the middle of a line
    folder.open(GrpoRecipe(), DATA, resume=True)
    assert folder.resume_point() == tmp_path / "checkpoint-90"
    assert not (tmp_path / "checkpoint-100").exists()
    assert [line["step"] for line in read_lines(folder.metrics)] == list(range(0, 91, 10))


def test_steps_before_a_phase_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "sft")
    folder.append(folder.metrics, [{"step": step} for step in range(1, 13)])
    (tmp_path / "2-talk" / "checkpoint-4").mkdir(parents=True)
    (tmp_path / "2-talk" / "checkpoint-4" / WHOLE).touch()
    assert folder.resume_point(tmp_path / "2-talk", before=5) == tmp_path / "2-talk" / "checkpoint-4"
    assert [line["step"] for line in read_lines(folder.metrics)] == list(range(1, 10))
    assert folder.resume_point(tmp_path / "3-more", before=7) is None
    assert [line["step"] for line in read_lines(folder.metrics)] == list(range(1, 8))


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "best"
    with whole_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    with suppress(KeyboardInterrupt), whole_folder(target) as folder:
        (folder / "a").write_text("2")
        raise KeyboardInterrupt
    assert (target / "a").read_text() == "1"
    with whole_folder(target) as folder:
        (folder / "b").write_text("3")
    assert [path.name for path in tmp_path.rglob("*")] == ["best", "b"]


def test_a_run_keeps_others_out_of_its_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "run")
    with folder.held():
        folder.open(GrpoRecipe(), DATA, resume=False)
        with pytest.raises(QInsightError, match=r"another qinsight is writing .*run"), folder.held():
            pass
    with folder.held():  # over, as after a kill
        folder.open(GrpoRecipe(), DATA, resume=True)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_the_other_processes_of_a_run_are_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.held():
        monkeypatch.setenv("RANK", "1")
        with folder.held():
            pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line_however_it_is_worded(error: Exception) -> None:
    def saving() -> None:
        try:
            raise error
        except Exception as inner:
            raise ValueError("while saving") from inner

    guarded = full_disk_in_one_line(Path("out"))(saving)
    with pytest.raises(QInsightError, match="the disk of out is full; make room and run again with --resume"):
        guarded()


def test_torch_words_a_full_disk_as_we_expect() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("there is no /dev/full")
    for size in (1, 1_000_000):
        with pytest.raises(RuntimeError) as caught:
            torch.save({"a": torch.zeros(size)}, "/dev/full")
        assert is_full_disk(caught.value)
    assert not is_full_disk(RuntimeError("CUDA out of memory"))


def test_a_line_of_metrics() -> None:
    logs = {
        "loss": 0.1,
        "kl": 0.2,
        "rewards/r_fmt/mean": 0.9,
        "rewards/r_fmt/std": 0.3,
        "rewards/r_comp/mean": None,
        "completions/mean_length": 50.0,
        "completions/clipped_ratio": 0.25,
        "parse_failures/bad_json": 0.125,
        "parse_failures/no_answer": 0.0,
        "clip_ratio/low_mean": 0.0,
    }
    assert metrics_line(7, logs) == {
        "step": 7,
        "loss": 0.1,
        "kl": 0.2,
        "r_fmt": 0.9,
        "r_comp": None,
        "completion_length": 50.0,
        "truncated": 0.25,
        "parse_failures": {"bad_json": 0.125},
    }


def test_curves_are_drawn_where_there_is_something_to_draw(tmp_path: Path) -> None:
    curves.draw_curves([], tmp_path)
    assert not list(tmp_path.iterdir())
    lines = [{"step": step, "reward": step / 10, "r_comp": None, "kl": 0.01 * step} for step in range(1, 11)]
    curves.draw_curves([{"step": 0, "eval": {"reward": 0.1}}, *lines, {"step": 10, "eval": {"reward": 0.9}}], tmp_path)
    for name in ("rewards.png", "kl.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 600
    for name in ("rewards", "kl"):
        assert (tmp_path / f"{name}.svg").read_text().count("<path") > 3
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    first = (tmp_path / "kl.png").read_bytes()
    curves.draw_curves([replace_kl(line) for line in lines], tmp_path)
    assert (tmp_path / "kl.png").read_bytes() != first


def replace_kl(line: dict[str, object]) -> dict[str, object]:
    return {**line, "kl": 0.5}


def test_smoothing_is_the_mean_over_the_window() -> None:
    points = [(step, float(step)) for step in range(1, 101)]
    smoothed = dict(curves.smooth(points, 100))  # a window of 5
    assert smoothed[1] == 1.0
    assert smoothed[100] == pytest.approx((96 + 97 + 98 + 99 + 100) / 5)
