"""Recipes: what is read, what is refused, what overrides what."""

from pathlib import Path

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training import recipes

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
    assert "tiny" in recipes.names()
    tiny = recipes.load_sft("tiny")
    assert tiny.model == "new"
    assert tiny.phases[0].kind == "see"
    assert tiny.phases[-1].crop == 0  # the last phase sees pictures as inference does


def test_numbers_that_yaml_reads_as_text_become_numbers(tmp_path: Path) -> None:
    recipe = recipes.load_sft(write(tmp_path, SMALL))  # PyYAML reads 1e-3 as the text "1e-3"
    assert recipe.phases[0].learning_rate == 0.001


def test_the_command_line_wins_over_the_recipe(tmp_path: Path) -> None:
    recipe = recipes.load_sft(write(tmp_path, SMALL), {"seed": 9, "model": None})
    assert (recipe.seed, recipe.model) == (9, "new")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL.replace("seed:", "sede:"), "unknown key 'sede'; did you mean 'seed'"),
        (SMALL.replace("steps:", "stesp:"), "phase 1: unknown key 'stesp'; did you mean 'steps'"),
        (SMALL.replace("steps: 2", "steps: many"), "steps: 'many' is not a number"),
        (SMALL.replace("steps: 2, ", ""), "missing 1 required"),
        (SMALL.replace("sft:", "grpo:"), "no sft section; it has grpo"),
        ("", "is empty"),
        ("sft: [", "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        recipes.load_sft(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(QInsightError, match="did you mean tiny"):
        recipes.load_sft("tinny")
