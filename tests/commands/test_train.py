"""`qinsight train` as a command: its shortest form, what wins over what, and its dry runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.data.manifest import Sample, write_dataset

Run = Callable[..., Any]


def test_the_shortest_form_trains_tiny_on_all_there_is(
    run: Run, prepared: Path, embedded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qinsight_cli.core.training.grpo import run as grpo_run

    asked: dict[str, Any] = {}

    def instead(job: Any, out: Path, resume: bool) -> Path:
        asked.update(job=job, out=out, resume=resume)
        return out / "final"

    monkeypatch.setattr(grpo_run, "run_grpo", instead)
    done = run("train", "--tasks", "score,degradation")
    assert done.code == 0
    recipe = asked["job"].recipe
    assert (recipe.model, recipe.tasks, recipe.max_steps) == ("tiny", ("score", "degradation"), 400)
    assert len(asked["job"].samples) == 20
    assert asked["out"].parent == Path("runs")
    assert asked["out"].name.endswith("-tiny")
    assert "on made: 20 rows" in done.err
    assert done.out.strip() == str(asked["out"] / "final")


def test_a_short_run_from_beginning_to_end(run: Run, prepared: Path, embedded: None) -> None:
    words = ["train", "--tasks", "score", "--max-steps", "1", "--batch", "16", "--per-device-batch", "16"]
    words += ["--set", "max_completion_tokens=48", "--learning-rate", "1e-4", "--out", "out"]
    done = run(*words)
    assert done.code == 0, done.err
    assert done.out == "out/final\n"
    assert "step 1/1" in done.err
    assert json.loads(Path("out/metrics.jsonl").read_text())["learning_rate"] == 1e-4
    again = run(*words)
    assert again.code == 1
    assert "add --resume" in again.err
    resumed = run("train", "--resume", "--out", "out")  # everything else is in the folder
    assert resumed.code == 0, resumed.err
    other = run("train", "--resume", "--out", "out", "--set", "beta=0.5")
    assert other.code == 1
    assert "holds a run with beta 0.001, not 0.5" in other.err


def test_the_dry_run_prints_and_writes_nothing(run: Run, prepared: Path, embedded: None) -> None:
    done = run("train", "--dry-run", "--max-steps", "5", "--batch", "16", "--per-device-batch", "8", "--lora", "4")
    assert done.code == 0, done.err
    assert "rows        degradation" in done.out
    assert "steps       5" in done.out
    assert "lora_rank: 4" in done.out
    assert "memory" in done.out
    assert not Path("runs").exists()


SFT = """
sft:
  model: tiny
  seed: 1
  bf16: false
  workers: 0
  phases:
    - {name: talk, kind: talk, steps: 2, batch: 4, learning_rate: 1.0e-4, mix: {score: 1.0}}
"""


def test_sft_from_its_dry_run_to_its_resume(run: Run, prepared: Path, embedded: None) -> None:
    Path("sft.yaml").write_text(SFT)
    words = ("train", "--algorithm", "sft", "--recipe", "sft.yaml")
    looked = run(*words, "--dry-run")
    assert looked.code == 0, looked.err
    assert "rows        score 10" in looked.out
    assert "phase 1     talk (talk), 2 steps of 4 pictures, 8 in all, drawn from 10 rows" in looked.out
    assert not Path("runs").exists()
    done = run(*words, "--out", "out")
    assert done.code == 0, done.err
    assert done.out == "out/final\n"  # and nothing that transformers prints
    again = run(*words, "--out", "out")
    assert again.code == 1
    assert "add --resume" in again.err
    resumed = run("train", "--resume", "--out", "out")  # the folder knows that it is an SFT run
    assert (resumed.code, resumed.out) == (0, "out/final\n"), resumed.err
    other = run("train", "--resume", "--out", "out", "--seed", "2")
    assert other.code == 1
    assert "holds a run with seed 1, not 2" in other.err


def test_a_picture_changed_since_it_was_prepared_is_noticed(run: Run, prepared: Path, embedded: None) -> None:
    made = prepared / "data" / "made"
    assert run("prepare", "csv", table(made), "--images", str(made), "--out", "data/known", *COLUMNS).code == 0
    changed = made / "5.png"
    Image.open(changed).rotate(180).save(changed)
    Path("sft.yaml").write_text(SFT)
    for words in (
        ("--algorithm", "sft", "--recipe", "sft.yaml"),
        ("--tasks", "score", "--batch", "80", "--per-device-batch", "8", "--max-steps", "1"),
    ):
        done = run("train", *words, "--data", "data/known", "--dry-run")
        assert done.code == 1
        assert "5.png has changed since its dataset was prepared; prepare it again" in done.err


COLUMNS = ("--image-column", "file", "--label-column", "mos", "--test-share", "0", "--workers", "1")


def table(folder: Path) -> str:
    lines = [f"{number}.png,{number}" for number in range(10)]
    (folder / "labels.csv").write_text("\n".join(["file,mos", *lines]) + "\n")
    return str(folder / "labels.csv")


def test_any_line_of_the_recipe_can_be_set(run: Run, prepared: Path, embedded: None) -> None:
    lines = ["--set", "total_batch=16", "--set", "per_device_batch=8", "--set", "seed=5", "--set", "max_steps=3"]
    done = run("train", "--dry-run", *lines, "--max-steps", "2")
    assert done.code == 0, done.err
    assert "total_batch: 16" in done.out
    assert "seed: 5" in done.out
    assert "max_steps: 2" in done.out  # the option of its own wins


def test_every_key_of_the_recipe_is_an_option(run: Run, prepared: Path, embedded: None) -> None:
    import yaml

    from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
    from qinsight_cli.core.training.keys import option_of, settings

    changed = {
        "tasks": "degradation",
        "weights": "r_lev=0.5,r_fmt=2",
        "mix": "degradation/made=3",
        "seed": 7,
        "num_generations": 4,
        "total_batch": 16,
        "per_device_batch": 4,
        "max_steps": 2,
        "save_every": 6,
        "num_iterations": 2,
        "learning_rate": 2e-5,
        "final_learning_rate": 2e-6,
        "lora_targets": "q_proj,v_proj",
        "score_reward": "gaussian",
        "dtype": "bfloat16",
        "final_dtype": "float32",
        "top_p": 0.9,
        "beta": 0.5,
    }
    left = {"model", "vllm", "vllm_url", "report_to", "vllm_memory"}  # the model folder; packages not installed
    words, expected = [], {}
    for each, kind, setting in settings(GrpoRecipe):
        option = option_of(each.name, setting, kind)
        if each.name in left:
            continue
        if kind is bool:
            value = not each.default
            words.append(option.split("/")[0 if value else 1])
        else:
            value = changed.get(each.name, 9)
            words += [option, str(value)]
        expected[each.name] = value
    expected |= {"tasks": ["degradation"], "lora_targets": ["q_proj", "v_proj"]}
    expected |= {"weights": {"r_lev": 0.5, "r_fmt": 2.0}, "mix": {"degradation/made": 3.0}}
    words[words.index("--max-completion-tokens") + 1] = expected["max_completion_tokens"] = "96"
    expected["max_completion_tokens"] = 96
    words[words.index("--max-pixels") + 1] = "40000"
    expected["max_pixels"] = 40000
    done = run("train", "--dry-run", *words)
    assert done.code == 0, done.err
    shown = yaml.safe_load(done.out.split("\n\n")[0])["grpo"]
    assert {name: shown[name] for name in expected} == expected


def test_a_dataset_without_training_rows_is_passed_over(run: Run, prepared: Path, embedded: None) -> None:
    held_out = prepared / "data" / "made" / "0.png"
    row = Sample("x", "score", "test", "bench", {"image": held_out}, {"rating": 3.0})
    write_dataset(prepared / "data" / "bench", [row], {"name": "bench"})
    done = run("train", "--dry-run", "--batch", "16", "--per-device-batch", "8")
    assert done.code == 0, done.err


def test_the_paper_can_be_looked_at_without_its_model(run: Run, prepared: Path) -> None:
    done = run("train", "--recipe", "paper", "--dry-run", "--batch", "16")
    assert done.code == 0, done.err
    assert "8,292,166,656 parameters" in done.out
    assert "steps       100, 10.00 times each row" in done.out  # 20 rows, 2 prompts an update, 10 epochs


def test_help_loads_nothing_heavy() -> None:
    words = (
        "import sys; from qinsight_cli import cli; early = 'pydantic' in sys.modules; cli.run(['train', '--help']); "
        "sys.exit(early or bool({'torch', 'transformers', 'trl', 'numpy', 'PIL', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", words], capture_output=True, check=False).returncode == 0
