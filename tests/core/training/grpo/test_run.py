"""Whole runs at small size: what a run leaves, resume, LoRA, two processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import processes
from grpo_recipe import RECIPE, TASKS
from killed_training import killed_after
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo import run
from qinsight_cli.core.training.grpo.rewards import tasks_of
from qinsight_cli.core.training.run_folder import read_lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, job: Any) -> Path:
    """The folder of an undisturbed run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run.run_grpo(job(), out)
    return out


def lines_of(run: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """Without the time that steps took."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read_lines(run / name)]


def test_what_a_run_leaves(finished: Path, talking_model: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("recipe.yaml", "run.json", "metrics.jsonl", "completions.jsonl"),
        *(f"{plot}.{kind}" for plot in ("rewards", "kl") for kind in ("png", "svg", "pdf")),
        *("checkpoint-2", "checkpoint-4", "best", "final"),
    }
    steps = [line for line in lines_of(finished) if "eval" not in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {"r_fmt", "r_scr", "r_deg", "r_lev", "r_comp", "kl", "frac_reward_zero_std", "truncated"} <= set(steps[0])
    assert steps[0]["kl"] == 0.0
    assert steps[-1]["kl"] > 0.0
    evaluated = [line for line in lines_of(finished) if "eval" in line]
    assert [line["step"] for line in evaluated] == [0, 2, 4]
    assert evaluated[0]["eval"]["rows"] == 12
    assert evaluated[0]["validation"]["rows"] == 11  # of 100, every ninth from the second
    before, after = (load_file(folder / "model.safetensors") for folder in (talking_model, finished / "final"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_the_completions_of_a_run_earn_what_it_says(finished: Path) -> None:
    from qinsight_cli.core.tasks import TASKS as BY_NAME

    lines = lines_of(finished, "completions.jsonl")
    assert len(lines) == 4 * 4  # one group a step
    for line in lines:
        task = BY_NAME[line["task"]]
        assert line["rewards"] == task.earned(line["completion"], task.truth(json.loads(line["truth"])))
    for start in range(0, 16, 4):
        group = lines[start : start + 4]
        assert len({(line["step"], line["id"]) for line in group}) == 1
        weights = BY_NAME[group[0]["task"]].weights
        totals = torch.tensor([sum(weights[name] * value for name, value in line["rewards"].items()) for line in group])
        expected = (totals - totals.mean()) / (totals.std() + 1e-4)
        torch.testing.assert_close(torch.tensor([line["advantage"] for line in group]), expected, rtol=0, atol=1e-4)


def test_the_final_folder_answers_at_once_and_its_card_tells_of_the_run(
    finished: Path, small_rows: list[Sample]
) -> None:
    from qinsight_cli.core.models.loading import load_model

    model = load_model(str(finished / "final"), "cpu")
    assert model.identity["dtype"] == "float32"
    card = (finished / "final" / "README.md").read_text()
    assert "4 updates of 16 completions, 4 to a prompt" in card
    assert "Held-out rows (12, greedy), update 0 and 4" in card


def test_the_best_model_is_chosen_on_validation_rows(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out rows say the last update is best, validation rows the first one that is evaluated."""
    from qinsight_cli.core.training.grpo import evaluate

    made = job(max_steps=4, learning_rate=1e-4)
    rewards = {len(made.evaluation_rows): iter([0.1, 0.2, 0.9]), 5: iter([0.9, 0.5, 0.4])}
    made = replace(made, validation=made.validation_rows[:5])
    monkeypatch.setattr(evaluate, "outcomes", lambda engine, rows, *_: list(rows))
    monkeypatch.setattr(
        evaluate, "summary", lambda found, *_: {"reward": next(rewards[len(found)]), "rows": len(found)}
    )
    run.run_grpo(made, tmp_path / "run")
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert "The weights of update 2, best on the validation rows." in card


def test_without_validation_rows_no_model_is_called_best(job: Any, tmp_path: Path) -> None:
    made = job(max_steps=2)
    run.run_grpo(replace(made, validation=()), tmp_path / "run")
    assert not (tmp_path / "run" / "best").exists()
    assert any("eval" in line for line in lines_of(tmp_path / "run"))


def test_a_killed_run_resumes_to_the_same_steps_and_weights(finished: Path, job: Any, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    with killed_after(7):  # two backward passes an update: three updates and a half
        run.run_grpo(job(), out)
    assert [line["step"] for line in lines_of(out) if "eval" not in line] == [1, 2, 3]
    torn = out / "checkpoint-3"  # and a checkpoint that a kill left unfinished
    torn.mkdir()
    run.run_grpo(job(), out, resume=True)
    assert lines_of(out) == lines_of(finished)
    assert lines_of(out, "completions.jsonl") == lines_of(finished, "completions.jsonl")
    whole, resumed = (load_file(folder / "final" / "model.safetensors") for folder in (finished, out))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_lora_trains_the_adapter_and_leaves_a_plain_model(job: Any, tmp_path: Path, talking_model: Path) -> None:
    pytest.importorskip("peft")
    from qinsight_cli.core.models.loading import load_model

    final = run.run_grpo(job(lora_rank=4, lora_targets=("q_proj", "down_proj"), max_steps=2), tmp_path / "lora")
    before, after = (load_file(folder / "model.safetensors") for folder in (talking_model, final))
    assert before.keys() == after.keys()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    named = (name for name in before if name.endswith(("self_attn.q_proj.weight", "mlp.down_proj.weight")))
    assert moved == {name for name in named if "visual" not in name}
    checkpoint = tmp_path / "lora" / "checkpoint-2"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert lines_of(tmp_path / "lora")[-1]["kl"] > 0.0  # the adapter switched off is the reference
    read = load_model(str(checkpoint), "cpu").network.state_dict()  # base and adapter, added as they are read
    merged = load_model(str(final), "cpu").network.state_dict()
    for name, value in merged.items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=1e-6)


def test_an_adapter_is_merged_one_weight_at_a_time(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a weight is asked for, those before it are on the CPU in the final dtype, and nothing else holds them."""
    import weakref

    pytest.importorskip("peft")
    from qinsight_cli.core.training.grpo import recorder

    original, held = recorder.write_model, []

    def watched(folder: Path, network: Any, weights: Any, *rest: Any) -> None:
        def one_by_one() -> Any:
            alive: Any = None
            for name, value in weights:
                held.append(alive is not None and alive() is not None)
                own = name.endswith(("q_proj.weight", "down_proj.weight")) and "visual" not in name
                alive = weakref.ref(value) if own else None
                yield name, value
                del value

        original(folder, network, one_by_one(), *rest)

    monkeypatch.setattr(recorder, "write_model", watched)
    made = job(lora_rank=4, lora_targets=("q_proj", "down_proj"), max_steps=1, final_dtype="bfloat16")
    run.run_grpo(replace(made, held_out=(), validation=()), tmp_path / "lora")
    assert held
    assert not any(held)


def test_a_frozen_vision_tower_does_not_move(job: Any, tmp_path: Path, talking_model: Path) -> None:
    changes = {"freeze_vision": True, "gradient_checkpointing": True, "max_steps": 1, "skip_zero_variance": True}
    final = run.run_grpo(job(**changes, mask_truncated=True), tmp_path / "frozen")
    before, after = (load_file(folder / "model.safetensors") for folder in (talking_model, final))
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert moved == {name for name in before if "visual" not in name}


def test_two_processes_make_the_same_updates_as_one(
    talking_model: Path, small_dataset: Path, tmp_path: Path, job: Any
) -> None:
    runs = {1: tmp_path / "one", 2: tmp_path / "two"}
    run.run_grpo(job(max_steps=2, learning_rate=1e-4), runs[1])
    arguments = [
        *("train", "--tasks", ",".join(TASKS), "--data", small_dataset, "--model", talking_model, "--out", runs[2]),
        *("--batch", "16", "--num-generations", "4", "--per-device-batch", "8", "--max-steps", "2", "--no-bf16"),
        *("--learning-rate", "1e-4", "--set", "final_dtype=float32", "--set", "max_completion_tokens=32"),
        *("--set", "final_learning_rate=1e-9", "--set", "weights={}"),
    ]
    told = processes.run_two(arguments)
    assert told[0].splitlines()[-1].endswith("final")
    one, two = ([line for line in lines_of(run) if "eval" not in line] for run in runs.values())
    assert [line["completion"] for line in read_lines(runs[1] / "completions.jsonl")] == [
        line["completion"] for line in read_lines(runs[2] / "completions.jsonl")
    ]
    for first, second in zip(one, two, strict=True):
        for name in ("r_fmt", "reward", "completion_length", "grad_norm", "learning_rate"):
            assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-6), name
    weights = [load_file(run / "final" / "model.safetensors") for run in runs.values()]
    start = load_file(talking_model / "model.safetensors")
    moved = sum((weights[0][name].double() - value).abs().sum().item() for name, value in start.items())
    apart = sum((weights[0][name].double() - weights[1][name]).abs().sum().item() for name in start)
    assert apart < 0.02 * moved


def test_14000_rows_cost_megabytes(small_rows: list[Sample]) -> None:
    rows = (small_rows * 140)[:14_000]
    made = run.dataset(rows, tasks_of(RECIPE))
    assert len(made) == 14_000
    assert made.data.nbytes < 30e6


def test_a_full_disk_says_so(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.save
    # What torch's zip writer says of a disk without room has no errno.
    monkeypatch.setattr(torch, "save", lambda value, path, *a, **k: original(value, "/dev/full"))
    with pytest.raises(QInsightError, match="is full; make room and run again with --resume"):
        run.run_grpo(job(max_steps=2), tmp_path / "full")


def test_the_first_number_that_is_not_finite_ends_a_run(
    job: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer

    out, original = tmp_path / "run", MultiTaskTrainer.compute_loss

    def diverging(self: Any, *arguments: Any, **settings: Any) -> Any:
        loss = original(self, *arguments, **settings)
        return loss * float("inf") if self.state.global_step == 2 else loss

    with monkeypatch.context() as patch:
        patch.setattr(MultiTaskTrainer, "compute_loss", diverging)
        with pytest.raises(QInsightError, match=r"step 3: the loss is (nan|-?inf); rows ") as caught:
            run.run_grpo(job(), out)
    assert str(caught.value).endswith(f"the last good checkpoint is {out / 'checkpoint-2'}")
    assert any(row.id in str(caught.value) for row in job().samples)
    run.run_grpo(job(), out, resume=True)
    assert lines_of(out) == lines_of(finished)


def test_model_and_processor_are_read_once(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def count(name: str) -> None:
        original = getattr(run, name)

        def counting(*arguments: Any, **settings: Any) -> Any:
            read.append(name)
            return original(*arguments, **settings)

        monkeypatch.setattr(run, name, counting)

    for name in ("load_network", "load_processor", "locate"):
        count(name)
    run.run_grpo(replace(job(max_steps=1), held_out=(), validation=()), tmp_path / "run")
    assert sorted(read) == ["load_network", "load_processor", "locate"]


def test_a_run_is_logged_to_tensorboard_too(job: Any, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install tensorboard"
    )
    out = tmp_path / "logged"
    wanted = replace(job(report_to="tensorboard", max_steps=1, eval_every=9), held_out=(), validation=())
    run.run_grpo(wanted, out)
    (file,) = out.rglob("events.out.tfevents.*")
    logged = accumulator.EventAccumulator(str(file))
    logged.Reload()
    (line,) = lines_of(out)
    (found,) = logged.Scalars("train/reward")
    assert (found.step, found.value) == (1, pytest.approx(line["reward"]))
