"""What cannot be trained is said before the first step, and what would be done by the dry run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo import run


def test_a_model_with_a_weight_that_is_not_finite_is_refused(job: Any, tmp_path: Path, talking_model: Path) -> None:
    import shutil

    from safetensors.torch import save_file

    broken = tmp_path / "broken"
    shutil.copytree(talking_model, broken)
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    made = job()
    with pytest.raises(QInsightError, match=r"cannot be trained: its weight .*layers\.1\.mlp\.up_proj\.weight"):
        run.run_grpo(replace(made, recipe=replace(made.recipe, model=str(broken))), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_the_dry_run_says_what_would_be_done(job: Any) -> None:
    told = run.describe(job())
    for words in ("num_generations: 4", "16 completions = 8 x 2 accumulated x 1 process, 4 prompts", "rollouts    64"):
        assert words in told


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dtype": "bfloat16"}, "bfloat16 cannot take updates as small"),
        ({"vllm": "colocate"}, r"--vllm colocate needs vllm, which is not installed: pip install 'qinsight\[vllm\]'"),
        ({"max_completion_tokens": 8}, "completions end after 8"),
        ({"per_device_batch": 6}, "not a multiple of 6"),
    ],
)
def test_what_cannot_work_stops_before_the_first_step(job: Any, tmp_path: Path, changes: Any, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        run.run_grpo(job(**changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_model_without_eyes_is_refused(job: Any, tmp_path: Path, talking_model: Path) -> None:
    import shutil

    blind = tmp_path / "blind"
    shutil.copytree(talking_model, blind)
    config = json.loads((blind / "config.json").read_text())
    (blind / "config.json").write_text(json.dumps({**config, "model_type": "qwen2"}))
    made = job()
    with pytest.raises(QInsightError, match=r"holds a qwen2, not a Qwen2\.5-VL vision-language model"):
        run.run_grpo(replace(made, recipe=replace(made.recipe, model=str(blind))), tmp_path / "run")


def test_a_strip_is_named_by_a_run_and_by_its_dry_run(job: Any, tmp_path: Path) -> None:
    from PIL import Image

    strip = tmp_path / "strip.png"
    Image.new("RGB", (450, 2)).save(strip)
    made = job()
    first = next(row for row in made.samples if row.task == "score")
    rows = [replace(first, images={"image": strip}, files={}), *made.samples]
    whole = replace(made, samples=rows, recipe=replace(made.recipe, max_steps=0, epochs=1.0))
    for words in (lambda: run.describe(whole), lambda: run.run_grpo(whole, tmp_path / "run")):
        with pytest.raises(QInsightError, match=r"strip\.png cannot be used: 450 x 2 pixels: one side is over 200"):
            words()
    assert not (tmp_path / "run").exists()
