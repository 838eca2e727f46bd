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


LEAST_ROOM = 20  # columns; narrower text is not wrapped


def counted(number: int, noun: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@cache
def talk() -> Console:
    """The one console on stderr, so that lines and progress bars do not overwrite each other."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(words: str) -> None:
    """Write one line to stderr, without markup or wrapping and with escaped control characters."""
    from rich.text import Text

    talk().print(Text(printable(words)), soft_wrap=True)


def write(words: str) -> None:
    """Write one line to stdout, with escaped control characters."""
    print(printable(words), flush=True)


def write_beside(lead: str, words: str) -> None:
    """Write a lead and words to stdout: in a pipe on one line, on a terminal wrapped to the right of the lead."""
    room = width() - len(lead)
    if not sys.stdout.isatty() or room < LEAST_ROOM:
        write(f"{lead}{words}")
        return
    first, *rest = textwrap.wrap(words, room, break_on_hyphens=False) or [""]
    write(f"{lead}{first}")
    for line in rest:
        write(f"{' ' * len(lead)}{line}")


def show(what: Any) -> None:
    """Print a table or a rich text on stdout: as wide as the terminal, or `WIDE` columns in a pipe or a file."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else WIDE).print(what)


def width() -> int:
    """The number of columns that `show` has."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else WIDE


def write_path(path: str, null: bool) -> None:
    """Write one path to stdout, as raw bytes with a NUL or a line end; on a terminal with escaped control
    characters."""
    if sys.stdout.isatty():
        write(path)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + (b"\0" if null else os.linesep.encode()))
    sys.stdout.buffer.flush()


def summarize(shown: Callable[[int], Any]) -> None:
    """Print on stderr what `shown` returns for the width of stderr."""
    console = talk()
    console.print(shown(console.width))


def waiting(words: str) -> AbstractContextManager[Any]:
    """A spinner on stderr with these words, if stderr is a terminal."""
    return talk().status(words) if talk().is_terminal else nullcontext()


def progress(noun: str, total: int) -> AbstractContextManager[Advance]:
    """A progress bar on stderr, if stderr is a terminal. Yields a function to call after each item."""
    return progress_bar(noun, total, talk())


def fail(message: str) -> None:
    """Print an error as one line on stderr."""
    print(f"qinsight: error: {printable(' '.join(message.split()))}", file=sys.stderr)
