"""The terminal: messages on stderr, data on stdout. Commands write nowhere else."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.report.progress import Advance, progress_bar
from qinsight_cli.core.report.tables import WIDE, printable

if TYPE_CHECKING:
    from rich.console import Console


LEAST_ROOM = 20  # columns in which words are worth wrapping


@cache
def talk() -> Console:
    """The console on stderr. There is one, so that a line and a progress bar do not tear each other."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(words: str) -> None:
    """Write one line to stderr without markup or wrapping, and escape control characters."""
    from rich.text import Text

    talk().print(Text(printable(words)), soft_wrap=True)


def write(words: str) -> None:
    """One line on stdout, control characters escaped."""
    print(printable(words), flush=True)


def write_beside(lead: str, words: str) -> None:
    """A lead and words beside it on stdout: on a terminal wrapped under themselves, in a pipe one line."""
    room = width() - len(lead)
    if not sys.stdout.isatty() or room < LEAST_ROOM:
        write(f"{lead}{words}")
        return
    first, *rest = textwrap.wrap(words, room, break_on_hyphens=False) or [""]
    write(f"{lead}{first}")
    for line in rest:
        write(f"{' ' * len(lead)}{line}")


def show(what: Any) -> None:
    """A table or a rich text on stdout: as wide as the terminal, or `WIDE` columns in a pipe or a file."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else WIDE).print(what)


def width() -> int:
    """The columns that `show` has."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else WIDE


def write_path(path: str, null: bool) -> None:
    """One path on stdout, as its bytes are, with a NUL or a line end; a terminal gets control characters escaped."""
    if sys.stdout.isatty():
        write(path)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + (b"\0" if null else os.linesep.encode()))
    sys.stdout.buffer.flush()


def summarize(shown: Callable[[int], Any]) -> None:
    """Print on stderr what `shown` makes for its width."""
    console = talk()
    console.print(shown(console.width))


def waiting(words: str) -> AbstractContextManager[Any]:
    """A spinner on stderr with these words, if that is a terminal."""
    return talk().status(words) if talk().is_terminal else nullcontext()


def progress(noun: str, total: int) -> AbstractContextManager[Advance]:
    """A bar on stderr, if that is a terminal; yields a function to call after each item."""
    return progress_bar(noun, total, talk())


def fail(message: str) -> None:
    """The line of an error on stderr."""
    print(f"qinsight: error: {printable(' '.join(message.split()))}", file=sys.stderr)
