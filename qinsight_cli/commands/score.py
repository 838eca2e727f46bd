"""qinsight score: a rating from 1 to 5 and the reasoning, for each picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from qinsight_cli.commands import judging
from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Paths, Scoring
from qinsight_cli.commands.selection import ShowingScores
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.report.rows import Row
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

TOO_LOW = 4  # the exit code for a picture below --fail-below
NAMED = 5  # pictures named in the message
FailBelow = Annotated[
    float | None,
    typer.Option(
        "--fail-below",
        min=LOWEST,
        max=HIGHEST,
        metavar="RATING",
        help="Exit with code 4 if a picture is rated lower, as a quality gate in CI.",
    ),
]


@flat
def score(paths: Paths, showing: ShowingScores, run: Scoring, fail_below: FailBelow = None) -> None:
    """Rate pictures from 1 (bad) to 5 (excellent), with the reasoning.

    After an interruption the same command with the same output file resumes.
    """
    if fail_below is not None and run.fleet.ray is not None:
        raise UsageError("--fail-below does not work with --ray: leave out --fail-below, and read the ratings in --out")
    items = [{"image": path} for path in find_images(paths, getattr(sys.stdin, "buffer", None), run.limit, say)]
    task = TASKS["score"]
    low: list[str] = []

    def watched(rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if fail_below is not None and row["rating"] is not None and row["rating"] < fail_below:
                low.append(row["path"])
            yield row

    counts = judging.judge(task, items, run, merge=watched, showing=showing)
    if low:
        more = "" if len(low) <= NAMED else f" and {len(low) - NAMED} more"
        say(f"{len(low)} of {counts['rows']} rated below {fail_below:g}: {', '.join(low[:NAMED])}{more}")
        raise typer.Exit(TOO_LOW)
    judging.exit_code(counts)
