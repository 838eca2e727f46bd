"""`qinsight prepare check`: validate prepared datasets."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.console import progress, say, write
from qinsight_cli.commands.prepare_dataset import CORES, Workers


def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Prepared datasets.")],
    quick: Annotated[bool, typer.Option("--quick", help="Open no picture: no hashes, no near-duplicates.")] = False,
    workers: Workers = CORES,
) -> None:
    """Validate datasets: schema, files, ranges, hashes, leakage between splits; and count what they hold."""
    from qinsight_cli.core.errors import QInsightError

    found = [(folder, _errors(folder, quick, workers)) for folder in folders]
    faulty = [f"{folder} has {many:,} error{'s' if many > 1 else ''}" for folder, many in found if many]
    if faulty:
        raise QInsightError(f"{', '.join(faulty)}, listed above; mend them or run qinsight prepare again")


def _errors(folder: Path, quick: bool, workers: int) -> int:
    """Check one dataset, say what is wrong with it, and return how many errors that are."""
    from qinsight_cli.core.data.check import check_dataset, summary
    from qinsight_cli.core.errors import QInsightError

    try:
        with ExitStack() as stack:
            report = check_dataset(
                folder.resolve(), workers, quick, lambda total: stack.enter_context(progress("images", total))
            )
    except QInsightError as error:  # the folders after it are checked too
        say(f"wrong: {error}")
        return 1
    for line in summary(report.rows):
        write(line)
    for line in (*report.notes, *(f"wrong: {error}" for error in report.errors)):
        say(line)
    if not report.errors:
        write(f"{folder} is sound: {len(report.rows):,} rows")
    return len(report.errors)
