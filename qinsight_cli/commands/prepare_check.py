"""`qinsight prepare check`: validate a prepared dataset."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.console import progress, say, write
from qinsight_cli.commands.prepare_dataset import CORES, Workers


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared dataset.")],
    quick: Annotated[bool, typer.Option("--quick", help="Open no picture: no hashes, no near-duplicates.")] = False,
    workers: Workers = CORES,
) -> None:
    """Validate a dataset: schema, files, ranges, hashes, leakage between splits; and count what it holds."""
    from qinsight_cli.core.data.check import check_dataset, summary
    from qinsight_cli.core.errors import QInsightError

    with ExitStack() as stack:
        report = check_dataset(
            folder.resolve(), workers, quick, lambda total: stack.enter_context(progress("images", total))
        )
    for line in summary(report.rows):
        write(line)
    for line in (*report.notes, *(f"wrong: {error}" for error in report.errors)):
        say(line)
    if report.errors:
        many = f"{len(report.errors):,} errors" if len(report.errors) > 1 else "1 error"
        raise QInsightError(f"{folder} has {many}, listed above; mend them or run qinsight prepare again")
    write(f"{folder} is sound: {len(report.rows):,} rows")
