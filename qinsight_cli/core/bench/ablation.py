"""The recipes and commands for the rows of an ablation: Table B, the threshold of the score reward."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from qinsight_cli.core.bench.figures import figures
from qinsight_cli.core.files import claim_folder, write_text

COMMANDS = "commands.sh"
BASE = "paper"
# Name of an ablation -> the number of its table, the recipe key that its rows set, and the name of the table.
ABLATIONS = {"epsilon": ("B", "score_epsilon", "tableB")}


def write_ablation(name: str, folder: Path) -> Sequence[str]:
    """Write a recipe for each row of an ablation, based on the paper's recipe, and the commands as a shell script.

    Returns the commands: a training run for each row, then the bench of all. Raises QInsightError for a folder with
    other files.
    """
    number, key, table = ABLATIONS[name]
    claim_folder(folder, "ablation", lambda: (folder / COMMANDS).exists())
    commands, rows = [], []
    for row in dict.fromkeys(figure.row for figure in figures(number)):
        value = row.rpartition("=")[2].strip()
        recipe, run = folder / f"{name}-{value}.yaml", folder / value
        write_text(recipe, f"# Row {row} of Table {number}.\nbase: {BASE}\ngrpo:\n  {key}: {value}\n")
        commands.append(shlex.join(["qinsight", "train", "--recipe", str(recipe), "--out", str(run)]))
        rows += ["--row", f"{row}={run / 'final'}"]
    commands.append(shlex.join(["qinsight", "bench", table, *rows, "--out", str(folder / "bench")]))
    write_text(folder / COMMANDS, "\n".join(["#!/bin/sh", "set -e", *commands]) + "\n")
    return commands
