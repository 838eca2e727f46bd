"""A progress bar on stderr, with rate and time left, only when stderr is a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PACE_SECONDS = 30.0  # results come in bursts, a batch at a time: the rate is over this long


@contextmanager
def progress_bar(noun: str, total: int, console: Console | None = None) -> Iterator[Callable[[], None]]:
    """Yields a function to call once for each finished item; draws nothing when stderr is not a terminal.

    `console` is the one that other lines are written to meanwhile, if any, so that they do not tear the bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[pace]}"))
    marks = deque([(time.monotonic(), 0)])
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(noun, total=total, pace="")

        def advance() -> None:
            marks.append((time.monotonic(), marks[-1][1] + 1))
            while len(marks) > 2 and marks[-1][0] - marks[0][0] > PACE_SECONDS:
                marks.popleft()
            bars.update(bar, advance=1, pace=pace(marks, total))

        yield advance


def pace(marks: Sequence[tuple[float, int]], total: int) -> str:
    """(seconds, done) at several moments -> rate and time left, as words; empty while nothing can be said."""
    seconds, done = marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]
    if seconds <= 0 or done <= 0:
        return ""
    left = timedelta(seconds=round((total - marks[-1][1]) * seconds / done))
    return f"{done / seconds:.1f}/s, {left} left"
