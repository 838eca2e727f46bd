"""qinsight cache: the content of the answer cache and its largest size."""

from __future__ import annotations

from typing import Annotated

import typer

from qinsight_cli.commands.console import write
from qinsight_cli.core.inference.cache_file import MEGABYTE, cache_file, manage

Clear = Annotated[bool, typer.Option("--clear", help="Remove all answers.")]
MaxSize = Annotated[
    int | None,
    typer.Option(
        "--max-size",
        min=1,
        max=1_000_000,
        metavar="MB",
        help="Set the largest size in megabytes. (at first: 200)",
    ),
]


def cache(clear: Clear = False, max_size: MaxSize = None) -> None:
    """Show the answer cache: where it is, and how much it holds.

    score, degrade and compare keep their answers there, and reuse them for the same picture, model and settings. If
    the cache gets too large, the least recently used answers go. QINSIGHT_CACHE names another folder,
    QINSIGHT_NO_CACHE=1 turns the cache off.
    """
    facts = manage(clear, None if max_size is None else max_size * MEGABYTE)
    settings = "1 model and setting" if facts.scopes == 1 else f"{facts.scopes:,} models and settings"
    write(f"file     {cache_file()}")
    write(f"answers  {facts.answers:,}, of {settings}")
    write(f"size     {facts.size / MEGABYTE:.1f} MB of at most {facts.bound / MEGABYTE:,.0f} MB")
