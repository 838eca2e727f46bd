"""`qinsight prepare check`: validate prepared datasets."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.console import counted, progress, say, write
from qinsight_cli.commands.prepare_dataset import CORES, Workers
from qinsight_cli.core.errors import QInsightError


def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Prepared datasets.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not open pictures: no hashes, no near-duplicates.")
    ] = False,
    workers: Workers = CORES,
) -> None:
    """Validate datasets: schema, files, ranges, hashes, leakage between splits; and count their rows."""
    found = [(folder, _errors(folder, quick, workers)) for folder in folders]
    faulty = [f"{folder} has {counted(errors, 'error')}" for folder, errors in found if errors]
    if faulty:
        raise QInsightError(f"{', '.join(faulty)}, listed above; correct them, or run qinsight prepare again")


def _errors(folder: Path, quick: bool, workers: int) -> int:
    """Check one dataset, print its errors, and return their number."""
    from qinsight_cli.core.data.check import check_dataset, summary

    try:
        with ExitStack() as stack:
            report = check_dataset(
                folder.resolve(), workers, quick, lambda total: stack.enter_context(progress("images", total))
            )
    except QInsightError as error:  # check the other folders too
        say(f"wrong: {error}")
        return 1
    for line in summary(report.rows):
        write(line)
    for line in (*report.notes, *(f"wrong: {error}" for error in report.errors)):
        say(line)
    if not report.errors:
        write(f"{folder} is sound: {len(report.rows):,} rows")
    return len(report.errors)
