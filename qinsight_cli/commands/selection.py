"""Options that say which pictures are shown, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, ClassVar

import typer

from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.report.selection import BEST, WORST, Selection
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

SHOWN = "What is shown"
_option = partial(typer.Option, rich_help_panel=SHOWN)
_limit = partial(_option, min=LOWEST, max=HIGHEST, metavar="RATING")


class RatingOrder(StrEnum):
    rating = "rating"
    best = "best"


class SeverityOrder(StrEnum):
    severity = "severity"
    best = "best"


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What score and degrade share. Rows with an error come last, and are always among the rows."""

    sort: ClassVar[StrEnum | None] = None
    below: ClassVar[float | None] = None
    above: ClassVar[float | None] = None
    top: Annotated[
        int | None, _option("--top", min=1, metavar="N", help="Only the first N, worst first without --sort.")
    ] = None
    paths_only: Annotated[bool, _option("--paths", help="Print only the paths, to pipe them on.")] = False
    null: Annotated[bool, _option("-0", "--null", help="With --paths: NUL after each, for xargs -0.")] = False

    def __post_init__(self) -> None:
        """Raises UsageError for -0 without --paths, and for limits that no rating can meet."""
        if self.null and not self.paths_only:
            raise UsageError("-0 says how --paths are separated: give --paths too")
        if self.below is not None and self.above is not None and self.above >= self.below:
            raise UsageError(f"no rating is above {self.above:g} and below {self.below:g}")

    @property
    def selection(self) -> Selection:
        first = BEST if self.sort == BEST else WORST if self.sort is not None or self.top is not None else None
        return Selection(first, self.top, self.below, self.above)


@dataclass(frozen=True, kw_only=True)
class ShowingScores(Showing):
    """Which ratings are shown."""

    sort: Annotated[  # type: ignore[misc]
        RatingOrder | None, _option("--sort", help="rating: the worst first; best: the best first.")
    ] = None
    below: Annotated[  # type: ignore[misc]
        float | None, _limit("--below", help="Only pictures rated lower than this.")
    ] = None
    above: Annotated[  # type: ignore[misc]
        float | None, _limit("--above", help="Only pictures rated higher than this.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShowingDistortions(Showing):
    """Which distortions are shown."""

    sort: Annotated[  # type: ignore[misc]
        SeverityOrder | None, _option("--sort", help="severity: the worst first; best: the best first.")
    ] = None
