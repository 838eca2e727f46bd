"""Write docs/commands.md from `--help`, the keys in docs/training.md from the recipe, the file map from docstrings.

Run `python docs/generate.py`. A test fails when a page is out of date.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from qinsight_cli.commands.root import build_app
from qinsight_cli.commands.root_help import COMMANDS
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.keys import option_of, settings

PAGE = Path(__file__).parent / "commands.md"
TRAINING = Path(__file__).parent / "training.md"
CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
PACKAGE = Path(__file__).parent.parent / "qinsight_cli"
BEGIN, END = "<!-- the keys of GrpoRecipe, by docs/generate.py -->\n", "<!-- end -->\n"
MAP_BEGIN = "<!-- the first docstring line of every module, by docs/generate.py -->\n"
WIDTH, COLUMN = 118, 34  # of the file map: its lines, and where the descriptions begin


def commands() -> list[str]:
    """Every command of the app, "" for the app itself, as words on the command line."""
    app = build_app(COMMANDS)
    found = ["", *(str(command.name) for command in app.registered_commands)]
    for group in app.registered_groups:
        found.append(str(group.name))
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            found.append(f"{group.name} {command.name or command.callback.__name__}")
    return found


def page() -> str:
    parts = ["# Commands\n\nWritten from `--help` by `python docs/generate.py`.\n"]
    for command, text in helps(commands()).items():
        name = f"qinsight {command}".strip()
        parts.append(f"\n## {name}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def helps(names: list[str]) -> dict[str, str]:
    """The plain help text of each command, 100 columns wide, without colours or boxes.

    Typer reads TYPER_USE_RICH when it is imported, so one other process writes them all.
    """
    environment = {**os.environ, "TYPER_USE_RICH": "0", "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    script = (
        "import sys; from qinsight_cli import cli\n"
        "for name in sys.argv[1:]: cli.run([*name.split(), '--help']); print(chr(12))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *names], capture_output=True, text=True, check=True, env=environment
    )
    texts = done.stdout.split("\f\n")
    return {
        name: "\n".join(line.rstrip() for line in text.strip().splitlines())
        for name, text in zip(names, texts, strict=False)
    }


def keys() -> str:
    """The table of the keys of a GRPO recipe: name, option, default, what it does."""
    lines = ["| key | option | default | what it does |", "| --- | --- | --- | --- |"]
    for each, kind, setting in settings(GrpoRecipe):
        option = option_of(each.name, setting, kind).replace("/", "`, `")
        default = plain(getattr(GrpoRecipe(), each.name))
        lines.append(f"| `{each.name}` | `{option}` | {default} | {setting.help} |")
    return "\n".join(lines) + "\n"


def plain(default: Any) -> str:
    """A default as a recipe would say it; nothing for an empty one."""
    if isinstance(default, bool):
        return str(default).lower()
    return ", ".join(default) if isinstance(default, tuple) else "" if default in ("", {}) else str(default)


def training() -> str:
    """docs/training.md with the table in its place."""
    return between(TRAINING, BEGIN, keys())


def contributing() -> str:
    """CONTRIBUTING.md with the file map in its place."""
    return between(CONTRIBUTING, MAP_BEGIN, f"```text\n{file_map()}```\n")


def between(page: Path, begin: str, words: str) -> str:
    """The text of a page with new words between the line `begin` and the next END."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n{words}\n{END}{after}"


def file_map() -> str:
    """The modules of the package as a tree, each with the first line of its docstring."""
    return "".join(branch(PACKAGE, 0))


def branch(folder: Path, depth: int) -> list[str]:
    """The lines of a package: its own, those of its modules, those of its subpackages."""
    lines = [entry(f"{folder.name}/", first_line(folder / "__init__.py"), depth)]
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            lines.append(entry(path.name, first_line(path), depth + 1))
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            lines += branch(path, depth + 1)
    return lines


def entry(name: str, words: str, depth: int) -> str:
    """One name and what is in it, wrapped."""
    head = f"{'  ' * depth}{name}".ljust(COLUMN - 2) + "  "
    return textwrap.fill(words, WIDTH, initial_indent=head, subsequent_indent=" " * COLUMN) + "\n"


def first_line(module: Path) -> str:
    """The first line of the docstring of a module."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    TRAINING.write_text(training(), encoding="utf-8")
    CONTRIBUTING.write_text(contributing(), encoding="utf-8")
