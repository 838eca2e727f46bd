"""The summary of many rows: how often each answer was given, and the worst pictures."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.report.rows import Row
from qinsight_cli.core.report.tables import folded, printable, rating_colour
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MANY = 20  # answers; fewer get no summary
WORST = 5
STEP = 0.5  # bin width of the histogram of a number in [1, 5]
LONGEST_BAR = 40
LEAST_VERDICT = 24  # columns
TEXT_ROOM = 34  # columns next to the bars


class Summary:
    """Counts answers row by row and keeps the worst ones. Its memory does not grow with the number of rows."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.answered = 0
        self._total = 0.0
        self._counts: Counter[Any] = Counter()
        self._worst: list[tuple[float, int, Row]] = []  # a heap, the least bad row first

    def add(self, row: Row) -> None:
        """Add one row. Rows with an error are not counted."""
        if row["error"] is not None:
            return
        self.answered += 1
        if self.task.number:
            self._total += float(row[self.task.number])
        self._counts[self._group(row)] += 1
        if self.task.badness is not None:
            push = heapq.heappush if len(self._worst) < WORST else heapq.heappushpop
            push(self._worst, (self.task.badness(row), -self.answered, row))

    def _group(self, row: Row) -> Any:
        """The index of a number's bin, or the words of an answer, each once."""
        if self.task.number:
            bins = round((HIGHEST - LOWEST) / STEP)
            return min(bins - 1, math.floor((float(row[self.task.number]) - LOWEST) / STEP))
        return tuple(dict.fromkeys(str(row[column]) for column in reversed(self.task.columns)))

    def counts(self) -> list[tuple[str, int]]:
        """(answer, number of rows): the bins of the scale, the best first, or the answers, the most frequent first."""
        if not self.task.number:
            return [(" ".join(words), count) for words, count in self._counts.most_common()]
        bins = reversed(range(round((HIGHEST - LOWEST) / STEP)))
        return [(f"{LOWEST + STEP * i:.1f} – {LOWEST + STEP * (i + 1):.1f}", self._counts[i]) for i in bins]

    def worst(self) -> list[Row]:
        """The worst rows, the worst first. Of equally bad rows the earlier comes first."""
        return [row for _, _, row in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]

    @property
    def line(self) -> str:
        """The number of answers, and the mean of numbers."""
        words = f"{self.answered:,} answer{'' if self.answered == 1 else 's'}"
        if self.task.number and self.answered:
            words += f", mean {self.task.number} {self._total / self.answered:.2f}"
        return words

    def shown(self, width: int) -> RenderableType:
        """A histogram and the worst rows, for a terminal of `width` columns."""
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [Text(self.line, style="bold"), self._histogram(width)]
        if self._worst:
            parts += [Text("the worst", style="bold"), self._worst_rows(width)]
        return Group(*parts)

    def _histogram(self, width: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        found = self.counts()
        most = max(count for _, count in found)
        room = max(8, min(LONGEST_BAR, width - TEXT_ROOM))
        for words, count in found:
            colour = rating_colour(float(words[:3]) + STEP / 2) if self.task.number else "cyan"
            filled = "█" * round(room * count / most) or ("▏" if count else "")
            table.add_row(f"  {printable(words)}", Text(filled, style=colour), f"{count:,}" if count else "")
        return table

    def _worst_rows(self, width: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        lines = [
            (
                f"  {row[self.task.number]:.2f}" if self.task.number else f"  {' '.join(self._group(row))}",
                printable(" ".join(str(row[column]) for column in self.task.image_columns)),
                printable(row["verdict"] or ""),
            )
            for row in self.worst()
        ]
        answers, names = (max(len(line[i]) for line in lines) for i in range(2))
        verdicts = width - answers - names - 3 >= LEAST_VERDICT
        names = max(8, min(names, (width - answers) // 2 if verdicts else width - answers - 2))
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, width=answers)
        table.add_column(overflow="fold", width=names)
        if verdicts:
            table.add_column(no_wrap=True, overflow="ellipsis", width=width - answers - names - 3)
        for answer, name, verdict in lines:
            row = Text(answer), Text("\n".join(folded(name, names))), Text(verdict)
            table.add_row(*(row if verdicts else row[:2]))
        return table
