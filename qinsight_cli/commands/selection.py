"""Options for the selection and order of pictures."""

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
    """The options that score and degrade share. Rows with an error are always shown, at the end."""

    sort: ClassVar[StrEnum | None] = None
    below: ClassVar[float | None] = None
    above: ClassVar[float | None] = None
    top: Annotated[
        int | None, _option("--top", min=1, metavar="N", help="Show only the first N; without --sort the worst first.")
    ] = None
    paths_only: Annotated[bool, _option("--paths", help="Print only the paths, for other programs.")] = False
    null: Annotated[bool, _option("-0", "--null", help="With --paths: end each path with NUL, for xargs -0.")] = False

    def __post_init__(self) -> None:
        """Raises UsageError for -0 without --paths, and for limits that exclude every rating."""
        if self.null and not self.paths_only:
            raise UsageError("-0 is only for paths: give --paths too")
        if self.below is not None and self.above is not None and self.above >= self.below:
            raise UsageError(f"no rating is above {self.above:g} and below {self.below:g}: change --above or --below")

    @property
    def selection(self) -> Selection:
        first = BEST if self.sort == BEST else WORST if self.sort is not None or self.top is not None else None
        return Selection(first, self.top, self.below, self.above)


@dataclass(frozen=True, kw_only=True)
class ShowingScores(Showing):
    """The options of score."""

    sort: Annotated[  # type: ignore[misc]
        RatingOrder | None, _option("--sort", help="rating: worst first; best: best first.")
    ] = None
    below: Annotated[  # type: ignore[misc]
        float | None, _limit("--below", help="Only pictures rated lower than this.")
    ] = None
    above: Annotated[  # type: ignore[misc]
        float | None, _limit("--above", help="Only pictures rated higher than this.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShowingDistortions(Showing):
    """The options of degrade."""

    sort: Annotated[  # type: ignore[misc]
        SeverityOrder | None, _option("--sort", help="severity: worst first; best: best first.")
    ] = None
