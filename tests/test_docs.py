"""The generated parts of the documentation are up to date."""

import ast
import re
from pathlib import Path

import generate

TESTS = Path(__file__).parent


def test_every_command_has_its_page_with_its_help_and_examples() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in generate.PAGES.glob("*.md")}
    wanted = {generate.file_of(command): generate.markdown(command) for command in generate.commands()}
    assert there == wanted, "run python docs/generate.py"
    assert {"index.md", "score.md", "prepare.md", "prepare-koniq.md", "doctor.md"} <= set(there)
    for option in ("`--csv FILE`: Write CSV", "`-0, --null`: ", "qinsight score photos/ --top 20 --html worst.html\n"):
        assert option in there["score.md"]  # read on its own, without the functions that write the pages
    assert "](prepare-koniq.md): KonIQ-10k: 10,073 photos" in there["prepare.md"]


def test_the_file_map_has_the_docstring_of_every_module() -> None:
    text = generate.CONTRIBUTING.read_text(encoding="utf-8")
    assert text == generate.contributing(), "run python docs/generate.py"
    tree = text.partition(generate.MAP_BEGIN)[2].partition(generate.END)[0]
    mapped = " ".join(tree.split())  # the map wraps its lines
    modules = sorted(generate.PACKAGE.rglob("*.py"))
    assert len(modules) > 100
    for module in modules:  # read on its own, without the functions that write the map
        line = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n")[0]
        assert line.endswith((".", ":")), f"{module}: the first docstring line is one whole sentence"
        name = f"{module.parent.name}/" if module.name == "__init__.py" else module.name
        assert f"{name} {line}" in mapped


def test_every_module_has_a_test_file_or_a_line_that_says_where_it_is_tested() -> None:
    text = generate.CONTRIBUTING.read_text(encoding="utf-8")
    listed = text.partition("## Where the tests are")[2].partition("\n## ")[0]
    for module in generate.PACKAGE.rglob("[!_]*.py"):
        inside = module.relative_to(generate.PACKAGE)
        has_tests = (TESTS / inside.parent / f"test_{module.name}").is_file()
        assert has_tests or f"{module.name}`" in listed, f"say in CONTRIBUTING.md where {inside} is tested"


def test_the_table_of_keys_is_the_recipe() -> None:
    from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
    from qinsight_cli.core.training.recipe import load_grpo, read_yaml

    text = generate.TRAINING.read_text(encoding="utf-8")
    assert text == generate.training(), "run python docs/generate.py"
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in generate.keys().splitlines()[2:]]
    assert [row[0] for row in rows] == list(vars(GrpoRecipe()))
    for key, option, default, words in rows:  # read on its own: what the table calls the default is the default
        assert option.startswith("--")
        assert words.endswith(".")
        value = vars(GrpoRecipe())[key]
        assert default == "" or load_grpo("paper", {key: read_yaml(default)}).__dict__[key] == value
        assert default or value in ("", {})


def test_every_promise_names_tests_that_are_there() -> None:
    """Each word of a selection names a test, or a file of tests, that its path holds."""
    commands = re.findall(
        r"`(tests/[^` ]+)(?: -k (?:\"([^\"]+)\"|([^ `]+)))?`", (TESTS.parent / "docs/reliability.md").read_text("utf-8")
    )
    assert len(commands) > 40
    for path, several, one in commands:
        place = TESTS.parent / path
        files = [place] if place.suffix else sorted(place.rglob("test_*.py"))
        names = [
            (file.stem, found) for file in files for found in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
        ]
        assert names, path
        for word in (several or one).split(" or ") if several or one else ():
            assert any(word in part for name in names for part in name), f"{path} -k {word}"
