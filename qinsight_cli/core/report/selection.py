"""The selection and order of rows: worst or best first, the first N, below or above a rating."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qinsight_cli.core.report.rows import Row
from qinsight_cli.core.tasks import Task

WORST, BEST = "worst", "best"


@dataclass(frozen=True)
class Selection:
    """Which rows to show, and in which order. The default is all rows in their order.

    first  WORST or BEST first; None for the order of the rows
    top    at most so many rows
    below  only rows with a lower number; above: only rows with a higher number

    Rows with an error have no number. They are always shown, at the end.
    """

    first: str | None = None
    top: int | None = None
    below: float | None = None
    above: float | None = None

    @property
    def waits(self) -> bool:
        """Whether all rows must be known before the first can be shown."""
        return self.first is not None or self.top is not None

    @property
    def chooses(self) -> bool:
        """Whether rows may be left out."""
        return self.top is not None or self.below is not None or self.above is not None

    def keeps(self, task: Task, row: Row) -> bool:
        """Whether a row is between `above` and `below`. A row with an error always counts."""
        if row["error"] is not None or not task.number:
            return True
        number = float(row[task.number])
        return (self.below is None or number < self.below) and (self.above is None or number > self.above)

    def of(self, task: Task, rows: Iterable[Row]) -> list[Row]:
        """The selected rows in order, then the rows with an error. Equally bad rows keep their order."""
        kept = [row for row in rows if self.keeps(task, row)]
        answered = [row for row in kept if row["error"] is None]
        badness = task.badness
        if self.first is not None and badness is not None:
            sign = -1 if self.first == WORST else 1
            answered.sort(key=lambda row: sign * badness(row))
        return [*answered[: self.top], *(row for row in kept if row["error"] is not None)]
