"""The pages that are written from the program say what the program says."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_commands_is_that_of_help() -> None:
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == generate["page"](), "run python docs/generate.py"


def test_the_table_of_keys_is_the_recipe() -> None:
    import yaml

    from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
    from qinsight_cli.core.training.recipe import load_grpo

    text = (DOCS / "training.md").read_text(encoding="utf-8")
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert text == generate["training"](), "run python docs/generate.py"
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in generate["keys"]().splitlines()[2:]]
    assert [row[0] for row in rows] == list(vars(GrpoRecipe()))
    for key, option, default, words in rows:  # read on its own: what the table calls the default is the default
        assert option.startswith("--")
        assert words.endswith(".")
        value = vars(GrpoRecipe())[key]
        assert default == "" or load_grpo("paper", {key: yaml.safe_load(default)}).__dict__[key] == value
        assert default or value in ("", {})
