"""A progress bar on stderr, with rate and time left, only when stderr is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

# Results come in bursts, a batch at a time, and a batch of a large model on a CPU takes minutes: the rate is over this
# many seconds.
RATE_SECONDS = 600.0

Advance = Callable[[], None]


@contextmanager
def progress_bar(noun: str, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Yields a function to call once for each finished item; draws nothing when stderr is not a terminal.

    `console` is the one that other lines are written to meanwhile, if any, so that they do not break the bar.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    with make_progress(console) as bars:
        bar = bars.add_task(noun, total=total)
        bars.advance(bar, 0)  # rich counts from its first mark: without one, from the end of the first batch
        yield lambda: bars.advance(bar)


def make_progress(console: Console, clock: Callable[[], float] | None = None) -> Progress:
    """The bar, the count, items a second and the time left. `clock` gives seconds, for tests."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as Left
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if not task.speed else f"{task.speed:.1f}/s,")

    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        Rate(),
        Left(),
        TextColumn("left"),
        console=console,
        transient=True,
        get_time=clock,
        speed_estimate_period=RATE_SECONDS,
    )
