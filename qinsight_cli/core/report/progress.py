"""A progress bar on stderr with rate and remaining time, if stderr is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

# The rate is an average over this many seconds: results come batch by batch, and a batch of a large model on a CPU
# takes minutes.
RATE_SECONDS = 600.0

Advance = Callable[[], None]


@contextmanager
def progress_bar(noun: str, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Yields a function to call after each item. Draws nothing if stderr is no terminal.

    console  the one for other lines, so that they do not break the bar
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    with make_progress(console) as bars:
        bar = bars.add_task(noun, total=total)
        bars.advance(bar, 0)  # rich measures from the first call, which would be at the end of the first batch
        yield lambda: bars.advance(bar)


def make_progress(console: Console, clock: Callable[[], float] | None = None) -> Progress:
    """The bar, the count, items per second and the remaining time. `clock` gives seconds, for tests."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if not task.speed else f"{task.speed:.1f}/s,")

    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        get_time=clock,
        speed_estimate_period=RATE_SECONDS,
    )
