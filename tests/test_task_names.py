"""A task is known by its own file: no other module names it, so that a new one is one file and one line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from qinsight_cli.core.tasks import TASKS

PACKAGE = Path(__file__).parent.parent / "qinsight_cli"
# The task's own folders, recipes and what reads them, and the verbs. `cli` and the help pages name the verb score, not
# the task.
RECIPES = ("core/training/recipe.py", "core/training/grpo/recipe.py", "core/training/sft/recipe.py")
MAY_NAME = ("core/tasks/", "core/bench/protocols/", "cli.py", "commands/examples.py", "commands/root_help.py", *RECIPES)
VERBS = ("commands/score.py", "commands/degrade.py", "commands/compare.py")
SOURCES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]


def named(source: str) -> Iterator[str]:
    """The task names among the texts of a source; a docstring is one long text and equals none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in TASKS:
            yield f"line {node.lineno}: {node.value!r}"


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith((*MAY_NAME, *VERBS))])
def test_no_task_is_named_outside_its_own_files(path: str) -> None:
    found = list(named((PACKAGE / path).read_text(encoding="utf-8")))
    assert not found, f"{path} names a task, {found[0]}; ask the Task for what you need of it"


def test_the_walk_sees_names_wherever_they_stand() -> None:
    source = 'def f(task: str = "score"):\n    return {"degradation": 1} if task == "comparison" else "score of it"\n'
    assert {line.partition(": ")[2] for line in named(source)} == {"'score'", "'degradation'", "'comparison'"}
    assert all(list(named((PACKAGE / f"core/tasks/{name}.py").read_text())) for name in TASKS)
