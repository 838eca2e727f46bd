"""What score, degrade and compare do alike: check, load, ask, write, and say how it went."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qinsight_cli.commands.options import read_prompt
from qinsight_cli.core.engines import Decoding, Engine
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.files import check_output
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal, journal_path
from qinsight_cli.core.inference.prefetch import Item
from qinsight_cli.core.report.progress import progress_bar
from qinsight_cli.core.report.rows import AGREEMENT, Row, row_of, writing
from qinsight_cli.core.report.tables import make_table, printable
from qinsight_cli.core.tasks import Task

if TYPE_CHECKING:
    from rich.console import Console

SOME_ROWS_FAILED = 3


@dataclass(frozen=True)
class JudgingOptions:
    """The shared options of one command line, as `options.py` declares them."""

    csv: str | None
    jsonl: str | None
    show_reasoning: bool
    restart: bool
    model: str
    device: str
    dtype: str
    batch_size: int
    max_pixels: int | None
    decoding: Decoding
    seed: int
    prompt: Path | None

    @property
    def file(self) -> str | None:
        """The output file that the journal belongs to, or None when nothing but stdout is written."""
        return next((path for path in (self.csv, self.jsonl) if path not in (None, "-")), None)


def judge(
    task: Task,
    items: Sequence[Item],
    run: JudgingOptions,
    columns: Sequence[str],
    merge: Callable[[Iterator[Row]], Iterable[Row]] = iter,
) -> Counter[str]:
    """Ask about every item, write the rows, say on stderr how it went.

    `merge` may turn several rows into one. Returns how many rows there were ("rows"), how many with an error
    ("errors"), and how many of each `agreement`. KeyboardInterrupt passes on; what was done is kept in the journal.
    """
    _check(run)
    prompt = read_prompt(run.prompt)
    console = _stderr()
    engine = _load(run, console)
    counts: Counter[str] = Counter()
    shown: list[Row] = []
    with ExitStack() as stack:
        journal = _journal(run, settings_of(task, engine, run.decoding, run.seed, prompt), console)
        stack.enter_context(nullcontext() if journal is None else journal)
        try:
            with writing(run.csv, run.jsonl, columns) as writers, _progress(console, len(items), run) as advance:
                results = assess(
                    task,
                    items,
                    engine,
                    run.decoding,
                    batch_size=run.batch_size,
                    seed=run.seed,
                    journal=journal,
                    prompt=prompt,
                    on_interrupt=lambda: _say(console, "finishing this batch; Ctrl-C again to stop at once"),
                )
                model = str(engine.identity.get("model", run.model))
                for row in merge(row_of(task, result, model) for result in _told(results, console, advance)):
                    counts.update(_facts(row))
                    for write in writers or [shown.append]:
                        write(row)
        except KeyboardInterrupt:
            hint = "" if journal is None else "; run the same command again to go on"
            _say(console, f"interrupted: {counts['rows']} rows done{hint}")
            raise
        finally:
            if shown:
                _show(make_table(columns, shown, run.show_reasoning))
        if journal is not None:
            journal.discard()
    _sum_up(console, counts, run)
    return counts


def exit_code(counts: Counter[str]) -> None:
    """Raise typer.Exit(3) when some rows have an error."""
    if counts["errors"]:
        raise typer.Exit(SOME_ROWS_FAILED)


def _check(run: JudgingOptions) -> None:
    """Find out what cannot work before the model is loaded."""
    if run.csv == "-" and run.jsonl == "-":
        raise UsageError("--csv - and --jsonl - cannot share standard output: give one of them a file")
    if run.csv and run.jsonl and os.path.realpath(run.csv) == os.path.realpath(run.jsonl):
        raise UsageError(f"--csv and --jsonl are both {run.csv}: give two names")
    for path in (run.csv, run.jsonl):
        if path not in (None, "-"):
            check_output(str(path))


def _load(run: JudgingOptions, console: Console) -> Engine:
    from qinsight_cli.core.engines.local import load_engine
    from qinsight_cli.core.models.names import TINY

    if run.model == TINY:
        _say(console, "model: tiny, a small model that comes with qinsight; for the paper's: --model q-insight")
    else:
        _say(console, f"model: {run.model}")
    if run.decoding.samples > 1:
        _say(console, f"drawing {run.decoding.samples} samples at temperature {run.decoding.temperature:g}")
    return load_engine(run.model, run.device, run.dtype, run.max_pixels)


def _journal(run: JudgingOptions, settings: dict[str, Any], console: Console) -> Journal | None:
    if run.file is None:
        return None
    journal = Journal(journal_path(run.file), settings, run.restart)
    if len(journal):
        _say(console, f"going on: {len(journal)} answers are in {journal.path}")
    return journal


def _told(results: Iterable[Result], console: Console, advance: Callable[[], None]) -> Iterator[Result]:
    """The results, each with its notes said and the progress moved on."""
    for result in results:
        for note in result.notes:
            _say(console, f"{' '.join(result.images.values())}: {note}")
        advance()
        yield result


def _facts(row: Row) -> list[str]:
    facts = ["rows"]
    if row["error"] is not None:
        facts.append("errors")
    if row.get(AGREEMENT):
        facts.append(row[AGREEMENT])
    return facts


def _sum_up(console: Console, counts: Counter[str], run: JudgingOptions) -> None:
    where = "".join(f", written to {path}" for path in (run.csv, run.jsonl) if path not in (None, "-"))
    rows = "1 row" if counts["rows"] == 1 else f"{counts['rows']} rows"
    _say(console, f"{rows}, {counts['errors']} with an error{where}")
    if counts["disagree"]:
        compared = counts["agree"] + counts["disagree"]
        _say(console, f"in {counts['disagree']} of {compared} pairs the answer changes with the order of the images")


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _say(console: Console, words: str) -> None:
    """One line on stderr, as it is: no markup, no wrapping, no control characters."""
    from rich.text import Text

    console.print(Text(printable(words)), soft_wrap=True)


def _show(table: object) -> None:
    """On a terminal as wide as it is; into a pipe or a file wide enough for long names."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _progress(console: Console, total: int, run: JudgingOptions) -> AbstractContextManager[Callable[[], None]]:
    """A bar on stderr, unless rows are written to the same terminal."""
    if "-" in (run.csv, run.jsonl) and sys.stdout.isatty():
        return nullcontext(lambda: None)
    return progress_bar("images", total, console)
