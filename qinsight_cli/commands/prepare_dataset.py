"""The options, the run and the summary that all commands of `qinsight prepare` share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qinsight_cli.commands.console import progress, say, write
from qinsight_cli.commands.flat import written
from qinsight_cli.core.output_checks import check_output_name

if TYPE_CHECKING:
    from qinsight_cli.core.data.labels import Labelled
    from qinsight_cli.core.data.problems import Problem

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NAMED = 3  # names printed for each kind of problem; problems.csv has all

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of the dataset as its authors ship it.")]
Out = Annotated[Path | None, written("--out", help="Dataset folder to write; data/NAME by default.")]
Reasoning = Annotated[
    bool, typer.Option("--reasoning", help="Write a reasoning for each row, computed from its picture.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of draws, splits, damage and wording.")]
Workers = Annotated[int, typer.Option("--workers", min=1, show_default="all cores", help="Number of processes.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out missing and broken pictures instead of failing.")]


@dataclass(frozen=True, kw_only=True)
class Making:
    """The options of every command that writes a dataset."""

    out: Out = None
    seed: Seed = 0
    force: Annotated[
        bool, typer.Option("--force", help="Replace a dataset that was prepared with other options or has more rows.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Preparing(Making):
    """The options of every published dataset and table."""

    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Draw N rows, stratified by class or rating.")
    ] = None
    skip_bad: SkipBad = False
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pictures into the dataset folder.")] = False
    workers: Workers = CORES


@dataclass(frozen=True, kw_only=True)
class Splitting(Preparing):
    """The options of a dataset that may have no official split."""

    test_share: Annotated[
        float | None,
        typer.Option(
            "--test-share", min=0.0, max=1.0, help="Share of the content to hold out, without an official split."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Rated(Splitting):
    """The options of a dataset of rated pictures."""

    reasoning: Reasoning = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """The options of a label table that belongs to no published dataset."""

    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the pictures; the table's own by default.")
    ] = None
    name: Annotated[str | None, typer.Option("--name", help="Name of the dataset; the table's by default.")] = None
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Lower labels are better (DMOS).")] = False

    @property
    def folder(self) -> Path | None:
        return self.images.resolve() if self.images else None


def run(labelled: Labelled, options: Preparing, **settings: Any) -> None:
    """Prepare a dataset and print a summary. `settings` are more fields of PrepareSettings."""
    from qinsight_cli.core.data.prepare import PrepareSettings, prepare_dataset

    folder = folder_of(options.out, labelled.name)
    chosen = {each.name: getattr(options, each.name) for each in fields(options) if each.name != "out"}
    with ExitStack() as stack:
        card, problems = prepare_dataset(
            labelled,
            PrepareSettings(folder, **{**chosen, **settings}),
            lambda total: stack.enter_context(progress("images", total)),
        )
    for note in labelled.notes:
        say(f"note: {note}")
    report(folder, card, problems)


def folder_of(out: Path | None, name: str) -> Path:
    """The dataset folder to write. Raises UsageError for a name that cannot be written."""
    check_output_name(name, "--name")
    return (out or Path("data", name)).resolve()


def report(folder: Path, card: dict[str, Any], problems: Sequence[Problem]) -> None:
    """Print the counts of the dataset on stdout, and its problems on stderr."""
    from qinsight_cli.core.data.problems import FILE, KINDS, PLURALS, count_by_kind

    for kind in KINDS:
        names = [problem.name for problem in problems if problem.kind == kind]
        if names:
            more = f", ... (all in {folder / FILE})" if len(names) > NAMED else ""
            what = kind if len(names) == 1 else PLURALS[kind]
            say(f"warning: {count_by_kind(problems)[kind]:,} {what}: {', '.join(names[:NAMED])}{more}")
    write(f"wrote {folder}")
    for name, rows in card["counts"].items():
        write(f"  {name:24} {rows:8,}")
