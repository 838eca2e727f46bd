"""The recipes and commands of an ablation: what they train, and where the measured rows then stand."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from qinsight_cli.core.bench.ablation import COMMANDS, write_ablation
from qinsight_cli.core.bench.paper import choose_tables
from qinsight_cli.core.bench.run import plain_name
from qinsight_cli.core.bench.systems.model import parse_label
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.recipe import load_grpo


def test_every_row_of_table_b_has_its_recipe_and_stands_beside_its_figures(tmp_path: Path) -> None:
    commands = write_ablation("epsilon", tmp_path / "epsilon")
    assert (tmp_path / "epsilon" / COMMANDS).read_text().splitlines()[2:] == list(commands)
    trained = {}
    for command in map(shlex.split, commands[:-1]):
        assert command[:3] == ["qinsight", "train", "--recipe"]
        trained[command[5]] = load_grpo(command[3], {})
    assert sorted(recipe.score_epsilon for recipe in trained.values()) == [0.15, 0.25, 0.3, 0.35, 0.4, 0.5]
    assert {recipe.model for recipe in trained.values()} == {load_grpo("paper", {}).model}
    bench = shlex.split(commands[-1])
    rows = [bench[place + 1] for place, word in enumerate(bench) if word == "--row"]
    (table,) = choose_tables(["tableB"])
    published = {line.method for line in table.published()}
    for row in rows:
        label, folder = parse_label(row)
        assert label in published
        assert trained[str(Path(folder).parent)].score_epsilon == float(label.removeprefix("ε = "))
    assert len(rows) == len(published) == 6


def test_a_folder_of_something_else_is_refused_and_an_earlier_one_is_not(tmp_path: Path) -> None:
    write_ablation("epsilon", tmp_path / "epsilon")
    write_ablation("epsilon", tmp_path / "epsilon")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(QInsightError, match="no ablation of qinsight"):
        write_ablation("epsilon", tmp_path / "mine")


@pytest.mark.parametrize("name", ["ε = 0.15", "ε=0.15", "epsilon=0.15", "Eps = 0.15", "eps0.15"])
def test_names_of_one_row(name: str) -> None:
    assert plain_name(name) == plain_name("ε = 0.15") != plain_name("ε = 0.25")
