"""Recipes: what is read, what is refused, what overrides what."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.keys import settings
from qinsight_cli.core.training.recipe import load_grpo, load_sft, names, read_yaml

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
        (SMALL.replace("steps: 2, ", ""), "phase 1: steps is missing"),
        (SMALL.replace("sft:", "grpo:"), "no sft section; it has grpo"),
        ("", "has no sections"),
        (SMALL.replace("talk", "tlk"), "choose see or talk"),
        ("sft: [", "is not YAML"),
        ("sft: " + "[" * 20_000, "is not YAML"),
        (SMALL.replace("seed: ", "seed: -"), r"seed is -\d+; it must be 0 or more"),
        (SMALL.replace("steps: 2", "steps: 0"), "phase 1: steps is 0; it must be 1 or more"),
        (SMALL.replace("steps: 2", "steps: 2.5"), "phase 1, steps: 2.5 is not a whole number"),
        (SMALL.replace("steps: 2", "steps: true"), "phase 1, steps: True is not a whole number"),
        (SMALL.replace("batch: 4", "batch: 0"), "batch is 0; it must be 1 or more"),
        (SMALL.replace("batch: 4", "batch: 4, windows: [[0, 1]]"), "phase 1: window 1.1 is 0; it must be above 0"),
        (SMALL.replace("batch: 4", "batch: 4, windows: [[1, 1.5]]"), "1.5; it must be at most 1"),
        (SMALL.replace("batch: 4", "batch: 4, windows: []"), "windows is empty"),
        (SMALL.replace("batch: 4", "batch: 4, frozen_blocks: -1"), "frozen_blocks is -1; it must be 0 or more"),
        (SMALL.replace("1e-3", ".inf"), "learning_rate: inf is not a number"),
        (SMALL.replace("1e-3", ".nan"), "learning_rate: nan is not a number"),
        (SMALL.replace("1e-3", "-1e-3"), "learning_rate is -0.001; it must be above 0"),
        (SMALL.replace("{score: 1}", "{score: -1, degradation: 2}"), "phase 1, mix: score is -1; it must be 0 or more"),
        (SMALL.replace("{score: 1}", "{score: 0}"), "the shares of phase only, mix are all 0"),
        (SMALL.replace("{score: 1}", "{scoer/koniq: 1}"), "no task 'scoer'; tasks are .*; did you mean score"),
        (SMALL.replace("{score: 1}", "{}"), "mix names no task"),
        (SMALL.replace("name: only", "name: ../out"), "its name is that of a folder"),
        (SMALL.replace("seed: 3", "seed: 3\n  network: {encodr: x}"), "network: unknown key 'encodr'; did you mean"),
        (SMALL.replace("seed: 3", "seed: 3\n  rating_spread: -0.4"), "rating_spread is -0.4"),
        (SMALL.replace("seed: 3", "seed: 3\n  token_weights: {ratng: 2}"), "no span 'ratng'; spans are .*mean rating"),
        (SMALL.replace("seed: 3", "seed: 3\n  token_weights: {rating: .inf}"), "token_weights, rating: inf is not"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        load_sft(write(tmp_path, text))
    assert "\n" not in str(caught.value)


# GRPO


def grpo(folder: Path, text: str) -> GrpoRecipe:
    return load_grpo(write(folder, text))


SUPERVISED = "paper-qwen-sft"  # the one recipe that is for SFT alone
WITH_GRPO = [name for name in names() if name != SUPERVISED]


@pytest.mark.parametrize("name", WITH_GRPO)
def test_every_packaged_recipe_has_a_grpo_section(name: str) -> None:
    assert load_grpo(name).num_generations == 8


def test_a_recipe_for_sft_alone_says_so() -> None:
    assert load_sft(SUPERVISED).phases
    with pytest.raises(QInsightError, match="has no grpo section; it has sft: give --algorithm sft"):
        load_grpo(SUPERVISED)


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
    for name in WITH_GRPO:
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
        ("grpo: {weights: 3}", "3 is not a list of names and numbers"),
        ("grpo: {weights: {r_lev: much}}", "weights, r_lev: 'much' is not a number"),
        ("grpo: {weights: {r_leb: 1}}", "no reward 'r_leb'; rewards are r_comp, r_deg"),
        ("grpo: {tasks: [scoer]}", "no task 'scoer'; tasks are score, degradation, comparison"),
        ("grpo: {tasks: []}", "no task to train"),
        ("grpo: {num_generations: 1}", "must be 2 or more"),
        ("grpo: {seed: -1}", "seed is -1; it must be 0 or more"),
        ("grpo: {seed: 5000000000}", "seed is 5000000000; it must be at most 2e+09"),
        ("grpo: {learning_rate: 1e-9, final_learning_rate: 1e-6}", "is not below learning_rate"),
        ("grpo: {temperature: 0}", "temperature is 0; it must be above 0"),
        ("grpo: {vllm: remote}", "vllm is 'remote'; choose"),
        ("grpo: {vllm: server}", "needs --vllm-url"),
        ("grpo: {mix: {score: 0}}", "are all 0"),
        ("grpo: {save_every: 3, num_iterations: 2}", "must be a multiple of num_iterations 2"),
        ("grpo: {seed: true}", "seed: True is not a whole number"),
        ("grpo: {total_batch: 0}", "total_batch is 0; it must be 1 or more"),
        ("grpo: {mix: {score: -1, degradation: 2}}", "mix: score is -1; it must be 0 or more"),
        ("grpo: {beta: .inf}", "beta: inf is not a number"),
        ("grpo: {beta: [1]}", "beta: [1] is not a number"),
        ("grpo: {lora_targets: [q_prj]}", "no projection 'q_prj'; projections are q_proj"),
        ("grpo: {score_epsilon: -0.1}", "score_epsilon is -0.1; it must be 0 or more"),
        ("grpo: {score_reward: gaussian, score_epsilon: 0}", "needs a score_epsilon above 0"),
        ("grpo: {score_sigma: 0.3}", "unknown key 'score_sigma'; did you mean 'score_epsilon'"),
        ("base: tiny\ngrpo: {learning_rate: 1e-6}", "give --final-learning-rate too, for example 1e-09"),
        ("base: nowhere", "no recipe 'nowhere'"),
        ("grpo: 3", "is not a list of settings"),
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


def test_an_epsilon_of_0_is_exact_match_and_below_it_nothing() -> None:
    assert load_grpo("paper", {"score_epsilon": 0}).score_epsilon == 0.0
    with pytest.raises(QInsightError, match="score_epsilon"):
        load_grpo("paper", {"score_epsilon": -0.1})


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(QInsightError, match="did you mean tiny"):
        load_sft("tinny")


@pytest.mark.parametrize(
    "text", ["1e-6", "1E-6", "1.0e-6", "-2e+3", "+1_000e3", "3.5", "0x10", "e5", "1e", "koniq-1e3"]
)
def test_only_numbers_are_read_as_numbers(text: str) -> None:
    """An independent rule: what Python calls a number of decimal digits is one, and nothing else."""
    value = read_yaml(f"x: {text}")["x"]
    try:
        assert value == float(text)
    except ValueError:
        assert value == (16 if text == "0x10" else text)


def test_the_parts_of_a_recipe_keep_their_types() -> None:
    phase = load_sft("tiny").phases[0]
    assert isinstance(phase.windows, tuple)
    assert all(isinstance(share, float) for share in phase.mix.values())
    assert isinstance(load_grpo("paper").epochs, float)  # the file says 10


def test_every_key_is_a_setting_with_a_range_that_holds_its_default() -> None:
    found = {each.name: (getattr(GrpoRecipe(), each.name), setting) for each, _, setting in settings(GrpoRecipe)}
    assert list(found) == [each.name for each in fields(GrpoRecipe)]
    for value, setting in found.values():
        assert setting.above is None or value > setting.above
        assert setting.least is None or value >= setting.least
        assert setting.most is None or value <= setting.most
