"""What `qinsight --help` shows, without loading a single command: importing them all takes longer than the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from qinsight_cli.commands.examples import epilog

WORDS = "Judge pictures: rate their quality, name their degradation, compare them, and say why."
USAGE = "Usage: qinsight [OPTIONS] COMMAND [ARGS]..."
# Command -> the first sentence of its help; a test compares them.
COMMANDS = {
    "score": "Rate pictures from 1 (bad) to 5 (excellent), with the reasoning.",
    "degrade": "Name the distortion of pictures (noise, blur, compression, darken or none) and its severity.",
    "compare": "Say which of two pictures is better: Image A, Image B, or Similar.",
    "explain": "Show the reasoning of several models about the same pictures side by side.",
    "prepare": "Turn a dataset, or a folder of photos, into a manifest for train and bench.",
    "train": "Train by a recipe.",
    "bench": "Print the paper's tables with figures measured here beside the published ones.",
    "cache": "Show the cache of answers: where it is, and how much it holds.",
    "doctor": "Show versions, devices, memory, models, datasets, extras and known traps, each with what to do.",
}
OPTIONS = {
    "--version": "Show the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "-h, --help": "Show this message and exit.",
}
COMPLETING = "_QINSIGHT_COMPLETE"  # set by a shell that completes a command line


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for this help, with or without words."""
    return COMPLETING not in os.environ and (not arguments or arguments[0] in ("-h", "--help"))


def show() -> None:
    """Print it: in boxes as Typer does, or plainly where TYPER_USE_RICH is 0."""
    if os.environ.get("TYPER_USE_RICH", "1").lower() in ("0", "false"):
        print(f"{USAGE}\n\n  {WORDS}\n\nOptions:\n{_plain(OPTIONS)}\n\nCommands:\n{_plain(COMMANDS)}\n\n{epilog('')}")
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    width = int(os.environ.get("TERMINAL_WIDTH") or 0) or None
    console = Console(width=width, highlight=False)
    usage, _, rest = USAGE.partition(" ")
    console.print(Text.assemble("\n ", (usage, "bold yellow"), (f" {rest}\n", "bold")))
    console.print(Padding(WORDS, (0, 1, 1, 1)))
    for title, entries in (("Options", OPTIONS), ("Commands", COMMANDS)):
        table = Table.grid(padding=(0, 2))
        for name, words in entries.items():
            table.add_row(Text(name, style="bold cyan", no_wrap=True), words)
        console.print(Panel(table, title=title, title_align="left", border_style="dim"))
    console.print(f"\n{epilog('')}\n", markup=False)


def _plain(entries: Mapping[str, str]) -> str:
    widest = max(map(len, entries))
    return "\n".join(f"  {name.ljust(widest)}  {words}" for name, words in entries.items())
