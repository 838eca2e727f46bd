"""Recipes: what is read, what is refused, what overrides what."""

import re
from pathlib import Path

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.recipe import GrpoRecipe, load_grpo, load_sft, names

SMALL = """
sft:
  model: new
  seed: 3
  phases:
    - {name: only, kind: talk, steps: 2, batch: 4, learning_rate: 1e-3, mix: {score: 1}}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_every_packaged_recipe_loads() -> None:
    assert "tiny" in names()
    tiny = load_sft("tiny")
    assert tiny.model == "new"
    assert tiny.phases[0].kind == "see"
    assert tiny.phases[-1].crop == 0  # the last phase sees pictures as inference does


def test_numbers_that_yaml_reads_as_text_become_numbers(tmp_path: Path) -> None:
    recipe = load_sft(write(tmp_path, SMALL))  # PyYAML reads 1e-3 as the text "1e-3"
    assert recipe.phases[0].learning_rate == 0.001


def test_the_command_line_wins_over_the_recipe(tmp_path: Path) -> None:
    recipe = load_sft(write(tmp_path, SMALL), {"seed": 9, "model": None})
    assert (recipe.seed, recipe.model) == (9, "new")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL.replace("seed:", "sede:"), "unknown key 'sede'; did you mean 'seed'"),
        (SMALL.replace("steps:", "stesp:"), "phase 1: unknown key 'stesp'; did you mean 'steps'"),
        (SMALL.replace("steps: 2", "steps: many"), "steps: 'many' is not a number"),
        (SMALL.replace("steps: 2, ", ""), "missing 1 required"),
        (SMALL.replace("sft:", "grpo:"), "no sft section; it has grpo"),
        ("", "has no sections"),
        (SMALL.replace("talk", "tlk"), "choose see or talk"),
        ("sft: [", "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        load_sft(write(tmp_path, text))
    assert "\n" not in str(caught.value)


# GRPO


def grpo(folder: Path, text: str) -> GrpoRecipe:
    return load_grpo(write(folder, text))


@pytest.mark.parametrize("name", names())
def test_every_packaged_recipe_has_a_grpo_section(name: str) -> None:
    assert load_grpo(name).num_generations == 8


def test_the_papers_figures() -> None:
    paper, comparison = load_grpo("paper"), load_grpo("paper-comparison")
    assert (paper.num_generations, paper.beta, paper.score_epsilon) == (8, 1e-3, 0.35)
    assert paper.weights == {"r_fmt": 1.0, "r_scr": 1.0, "r_deg": 0.25, "r_lev": 0.75}
    assert (paper.learning_rate, paper.final_learning_rate) == (1e-6, 1e-9)
    assert (paper.epochs, paper.total_batch, paper.tasks) == (10.0, 128, ("score", "degradation"))
    assert (comparison.epochs, comparison.total_batch, comparison.tasks) == (8.0, 32, ("comparison",))
    assert (comparison.num_generations, comparison.beta) == (8, 1e-3)  # as in Sec. 4.1
    assert load_grpo("paper-score-only").tasks == ("score",)
    assert load_grpo("paper-degradation-only").tasks == ("degradation",)
    for name in ("paper-score-only", "paper-degradation-only"):
        assert load_grpo(name).epochs == 10.0


def test_nothing_beyond_the_paper_is_on_unless_asked() -> None:
    for name in names():
        recipe = load_grpo(name)
        assert (recipe.skip_zero_variance, recipe.mask_truncated, recipe.rank_weight) == (False, False, 0.0)
        assert recipe.score_reward == "threshold"


def test_the_command_line_then_the_file_then_its_base_then_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "base: paper\ngrpo:\n  epochs: 2\n  seed: 5\n")
    recipe = load_grpo(path, {"seed": 9, "beta": None})
    assert (recipe.seed, recipe.epochs, recipe.model, recipe.top_k) == (9, 2.0, "qwen2.5-vl-7b", 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grpo: {beta: 0.1, learning_rat: 1e-6}", "unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ("grpo: {bf16: maybe}", "'maybe' is not true or false"),
        ("grpo: {model: 7}", "7 is not text"),
        ("grpo: {weights: 3}", "3 is no list of names and numbers"),
        ("grpo: {weights: {r_lev: much}}", "weights, r_lev: 'much' is not a number"),
        ("grpo: {weights: {r_leb: 1}}", "no reward 'r_leb'; rewards are r_comp, r_deg"),
        ("grpo: {tasks: [scoer]}", "no task 'scoer'; tasks are score, degradation, comparison"),
        ("grpo: {tasks: []}", "no task to train"),
        ("grpo: {num_generations: 1}", "must be 2 or more"),
        ("grpo: {learning_rate: 1e-9, final_learning_rate: 1e-6}", "is not below learning_rate"),
        ("grpo: {temperature: 0}", "temperature is 0.0; it must be above 0"),
        ("grpo: {vllm: remote}", "vllm is 'remote'; choose"),
        ("grpo: {vllm: server}", "needs --vllm-url"),
        ("grpo: {mix: {score: 0}}", "are all 0"),
        ("grpo: {save_every: 3, num_iterations: 2}", "must be a multiple of num_iterations 2"),
        ("base: nowhere", "no recipe 'nowhere'"),
        ("grpo: 3", "is no list of settings"),
        ("sft: {}", "has no grpo section"),
    ],
)
def test_a_wrong_grpo_recipe_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(QInsightError, match=re.escape(says)) as caught:
        grpo(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_recipe_based_on_itself_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    with pytest.raises(QInsightError, match="based on itself"):
        load_grpo(write(tmp_path, f"base: {path}\ngrpo: {{}}"))


def test_lists_may_be_written_with_commas(tmp_path: Path) -> None:
    assert grpo(tmp_path, "grpo: {tasks: 'score, comparison'}").tasks == ("score", "comparison")


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(QInsightError, match="did you mean tiny"):
        load_sft("tinny")
