"""Options that say which pictures are shown, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

import typer

from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.report.selection import BEST, WORST, Selection
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

SHOWN = "What is shown"


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
        int | None,
        typer.Option(
            "--top", min=1, metavar="N", help="Only the first N, worst first without --sort.", rich_help_panel=SHOWN
        ),
    ] = None
    paths_only: Annotated[
        bool, typer.Option("--paths", help="Print only the paths, to pipe them on.", rich_help_panel=SHOWN)
    ] = False
    null: Annotated[
        bool, typer.Option("-0", "--null", help="With --paths: NUL after each, for xargs -0.", rich_help_panel=SHOWN)
    ] = False

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
        RatingOrder | None,
        typer.Option("--sort", help="rating: the worst first; best: the best first.", rich_help_panel=SHOWN),
    ] = None
    below: Annotated[  # type: ignore[misc]
        float | None,
        typer.Option(
            "--below",
            min=LOWEST,
            max=HIGHEST,
            metavar="RATING",
            help="Only pictures rated lower than this.",
            rich_help_panel=SHOWN,
        ),
    ] = None
    above: Annotated[  # type: ignore[misc]
        float | None,
        typer.Option(
            "--above",
            min=LOWEST,
            max=HIGHEST,
            metavar="RATING",
            help="Only pictures rated higher than this.",
            rich_help_panel=SHOWN,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShowingDistortions(Showing):
    """Which distortions are shown."""

    sort: Annotated[  # type: ignore[misc]
        SeverityOrder | None,
        typer.Option("--sort", help="severity: the worst first; best: the best first.", rich_help_panel=SHOWN),
    ] = None
