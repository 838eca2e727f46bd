"""Write docs/commands.md from `--help`: python docs/generate.py (a test fails when the page has drifted)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from qinsight_cli.cli import app

PAGE = Path(__file__).parent / "commands.md"


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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
