"""Write docs/commands.md from `--help`, and the table of keys in docs/training.md from the recipe.

python docs/generate.py; a test fails when a page has drifted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from qinsight_cli.cli import app
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.keys import option_of, settings

PAGE = Path(__file__).parent / "commands.md"
TRAINING = Path(__file__).parent / "training.md"
BEGIN, END = "<!-- the keys of GrpoRecipe, by docs/generate.py -->\n", "<!-- end -->\n"


def commands() -> list[str]:
    """Every command of the app, "" for the app itself, as words on the command line."""
    found = ["", *(str(command.name) for command in app.registered_commands)]
    for group in app.registered_groups:
        found.append(str(group.name))
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            found.append(f"{group.name} {command.name or command.callback.__name__}")
    return found


def page() -> str:
    parts = ["# Commands\n\nWritten from `--help` by `python docs/generate.py`.\n"]
    for command in commands():
        name = f"qinsight {command}".strip()
        parts.append(f"\n## {name}\n\n```text\n{help_of(command)}\n```\n")
    return "".join(parts)


def help_of(command: str) -> str:
    """The plain help text of one command, 100 columns wide, without colours or boxes."""
    environment = {**os.environ, "TYPER_USE_RICH": "0", "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    arguments = [sys.executable, "-m", "qinsight_cli", *command.split(), "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


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
    text = TRAINING.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{keys()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    TRAINING.write_text(training(), encoding="utf-8")
