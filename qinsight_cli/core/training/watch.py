"""Live progress of a training run: a table on a terminal, elsewhere a line for each logged step."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WINDOW = 20  # logged steps whose mean is shown beside the last one
LINE = 24  # columns of a curve
MARKS = "▁▂▃▄▅▆▇█"


class Watch:
    """Shows logged values on stderr. A terminal shows the table during the `with` block, and other lines above it.

    rows  name of a logged value -> its title, in the order of the table; a value that is never logged is not shown
    name  of the run, or of its phase
    """

    def __init__(self, rows: Mapping[str, str], name: str = "", console: Console | None = None) -> None:
        self._rows, self._name, self._console = rows, name, console
        self._history: dict[str, list[float]] = {row: [] for row in rows}
        self._live: Any = None
        self._place = (0, 0, "")  # step, number of steps, time left

    def __enter__(self) -> Watch:
        from rich.console import Console
        from rich.live import Live

        console = self._console or Console(stderr=True, highlight=False)
        if console.is_terminal and not console.is_dumb_terminal:
            # Other output to stderr is printed above the table. stdout is for data and is not redirected.
            self._live = Live(console=console, get_renderable=self.table, refresh_per_second=2, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def recall(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add the lines of metrics.jsonl of a resumed run, so that its curves are complete."""
        for line in lines:
            self._keep(line)

    def step(self, step: int, steps: int, values: Mapping[str, Any], left: str, words: str) -> None:
        """Show one logged step with its values; `left` is the time left, `words` the line to print without a table."""
        self._place = (step, steps, left)
        self._keep(values)
        if self._live is None:
            print(words + (f"  {left} left" if left else ""), file=sys.stderr)

    def _keep(self, values: Mapping[str, Any]) -> None:
        for row, before in self._history.items():
            if isinstance(values.get(row), int | float) and math.isfinite(values[row]):
                before.append(float(values[row]))

    def table(self) -> RenderableType:
        """The current table; it fits 60 columns."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        step, steps, left = self._place
        count = f"step {step:,} of {steps:,}" if steps else "before the first step"
        head = Table.grid()
        head.add_row(Text("  ".join(filter(None, (self._name, count, left and f"{left} left"))), style="bold"))
        head.add_row(ProgressBar(total=max(1, steps), completed=step, width=56))
        found = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        for title in ("", "now", f"mean of {WINDOW}", "so far"):
            found.add_column(title, justify="left" if title in ("", "so far") else "right", no_wrap=True)
        for row, values in self._history.items():
            if values:
                recent = values[-WINDOW:]
                numbers = (number(values[-1]), number(sum(recent) / len(recent)))
                found.add_row(self._rows[row], *numbers, curve(values, LINE))
        return Group(head, found)


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def curve(values: Sequence[float], width: int) -> str:
    """The values as at most `width` block characters, each the height of the mean of its share."""
    count = min(width, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    span = high - low
    return "".join(MARKS[round((mean - low) / span * (len(MARKS) - 1)) if span else 0] for mean in means)
