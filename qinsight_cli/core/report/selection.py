"""Which rows of a run are shown, and in which order: worst or best first, the first N, below or above a rating."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qinsight_cli.core.report.rows import Row
from qinsight_cli.core.tasks import Task

WORST, BEST = "worst", "best"


@dataclass(frozen=True)
class Selection:
    """What is wanted of the rows; the default is all of them, in the order asked.

    first  WORST or BEST come first; None for the order asked
    top    at most so many rows
    below  only rows whose number is lower, above: only rows whose number is higher

    A row with an error has no place in an order and no number: such rows come last, whatever is wanted.
    """

    first: str | None = None
    top: int | None = None
    below: float | None = None
    above: float | None = None

    @property
    def waits(self) -> bool:
        """Whether the last row must be known before the first can be shown."""
        return self.first is not None or self.top is not None

    @property
    def chooses(self) -> bool:
        """Whether rows may be left out."""
        return self.top is not None or self.below is not None or self.above is not None

    def keeps(self, task: Task, row: Row) -> bool:
        """Whether a row lies between `above` and `below`; always for one with an error."""
        if row["error"] is not None or not task.number:
            return True
        number = float(row[task.number])
        return (self.below is None or number < self.below) and (self.above is None or number > self.above)

    def of(self, task: Task, rows: Iterable[Row]) -> list[Row]:
        """The rows wanted, in the order wanted, then those with an error. Equally bad rows keep their order."""
        kept = [row for row in rows if self.keeps(task, row)]
        answered = [row for row in kept if row["error"] is None]
        if self.first is not None:
            answered = sorted_rows(task, answered, self.first)
        return [*answered[: self.top], *(row for row in kept if row["error"] is not None)]


def sorted_rows(task: Task, rows: Sequence[Row], first: str = WORST) -> list[Row]:
    """Rows without an error, worst or best first; in their order for a task whose answers have none."""
    badness = task.badness
    if badness is None:
        return list(rows)
    sign = -1 if first == WORST else 1
    return sorted(rows, key=lambda row: sign * badness(row))
