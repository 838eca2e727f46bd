"""qinsight bench: the paper's tables, with published and measured figures."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qinsight_cli.commands.answers import BenchAnswers
from qinsight_cli.commands.bench_options import Counting, DegradationQuestions, Measured, Plcc, Where
from qinsight_cli.commands.console import counted, progress, say, show, width
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.fleet import Ray
from qinsight_cli.commands.judging import SOME_ROWS_FAILED
from qinsight_cli.commands.options import BenchCompute, Compute, Restart
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.errors import UsageError

if TYPE_CHECKING:
    from qinsight_cli.core.bench.paper import Table
    from qinsight_cli.core.bench.run import Bench, ProtocolOptions
    from qinsight_cli.core.bench.systems.base import AnswerSettings, System

Tables = Annotated[
    list[str] | None,
    typer.Argument(metavar="TABLE", help="table1 ... table5, tableB, an alias (--list shows them), or all."),
]
List = Annotated[bool, typer.Option("--list", help="Show every row, how to measure it, and whether it can run now.")]


class Grid(StrEnum):
    epsilon = "epsilon"


Ablation = Annotated[
    Grid | None,
    typer.Option("--grid", help="Write the recipes and commands that make the rows of an ablation: epsilon (Table B)."),
]


@flat
def bench(
    tables: Tables = None,
    list_rows: List = False,
    grid: Ablation = None,
    *,
    where: Where,
    measured: Measured,
    counting: Counting,
    restart: Restart = False,
    serving: Serving,
    ray: Ray,
    compute: BenchCompute,
    answers: BenchAnswers,
) -> None:
    """Print the paper's tables with figures measured here next to the published ones.

    Writes tables (CSV, Markdown, LaTeX), plots, every answer and bench.json into the bench folder. After an
    interruption the same command with the same --out resumes.
    """
    if list_rows:
        _list(measured.baselines_python)
        return
    if grid is not None:
        _ablation(grid.value, where.out)
        return
    chosen = _tables(tables)
    serving.check(compute, answers.decoding.mode == "direct")
    systems = _systems(measured, compute, serving, ray)
    settings = _settings(where.out or _new_folder(chosen), answers, serving.batch_size(compute), restart, counting)
    options = _protocol(where, counting, answers.seed)
    _measure(chosen, where, systems, options, settings, counting.intervals)


def _tables(names: list[str] | None) -> list[Table]:
    from qinsight_cli.core.bench.paper import choose_tables

    if not names:
        raise UsageError("name a table: table1 ... table5, tableB, or all; --list shows them with their rows")
    return choose_tables(names)


def _settings(
    folder: Path, answers: BenchAnswers, batch_size: int | None, restart: bool, counting: Counting
) -> AnswerSettings:
    from qinsight_cli.core.bench.systems.base import AnswerSettings

    return AnswerSettings(
        folder=folder,
        decoding=answers.decoding,
        batch_size=batch_size,
        seed=answers.seed,
        restart=restart,
        sequential=counting.protocol is DegradationQuestions.sequential,
        style=answers.prompt_style.value,
        say=say,
        progress=progress,
    )


def _protocol(where: Where, counting: Counting, seed: int) -> ProtocolOptions:
    from qinsight_cli.core.bench.run import ProtocolOptions

    return ProtocolOptions(
        split=where.split,
        limit=where.limit,
        fitted=counting.plcc is Plcc.logistic,
        ties=counting.ties.value,
        original=counting.original,
        strict=where.strict,
        draws=counting.bootstrap,
        seed=seed,
    )


def _measure(
    tables: list[Table],
    where: Where,
    systems: list[System],
    options: ProtocolOptions,
    settings: AnswerSettings,
    intervals: bool,
) -> None:
    """Measure, write and show. Exit code 3 if some rows have no answer."""
    from qinsight_cli.core.bench import output, render, run
    from qinsight_cli.core.report.gallery.write import check_gallery

    folders = where.data or []
    if where.html is not None:
        check_gallery(where.html, 0, force=False)
    run.check_inputs(tables, folders, systems, options)
    output.claim(settings.folder)
    try:
        done = run.measure(tables, folders, systems, options, settings)
    except KeyboardInterrupt:
        say(f"interrupted: to resume, run the same command with --out {shlex.quote(str(settings.folder))}")
        raise
    recorded = {"command": shlex.join(["qinsight", *sys.argv[1:]]), **run.recorded_settings(options, settings)}
    output.write(done, systems, settings.folder, recorded, intervals)
    if where.html is not None:
        _gallery(done, where.html)
    for grid in done.grids:
        show(render.terminal(grid, intervals, width()))
    failed = f"{counted(done.failed, 'row')} without an answer, " if done.failed else ""
    say(f"{failed}written to {settings.folder}")
    if done.failed:
        raise typer.Exit(SOME_ROWS_FAILED)


def _gallery(done: Bench, path: str) -> None:
    from qinsight_cli.core.bench.gallery import about, cards
    from qinsight_cli.core.report.gallery.write import write_gallery

    shown = cards(done)
    with progress("thumbnails", len(shown)) as advance:
        pages = write_gallery(path, about(done, shown), shown, advance=advance)
    say(f"gallery: {path}" if pages == 1 else f"gallery: {path}, {pages} pages")


def _new_folder(tables: list[Table]) -> Path:
    names = [table.name for table in tables]
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-bench-{names[0] if len(names) == 1 else 'tables'}"


def _systems(measured: Measured, compute: Compute, serving: Serving, ray: Ray) -> list[System]:
    from qinsight_cli.core.bench.systems.metric import MetricSystem, baseline_of

    default = not (measured.metric or measured.predictions)
    baselines = [baseline_of(name) for name in measured.metric or []]
    return [
        *_models(measured.model, default, compute, serving, ray),
        *(MetricSystem(each.row, each, measured.baselines_python, compute.device) for each in baselines),
        *_predictions(measured.predictions),
    ]


def _models(names: list[str] | None, default: bool, compute: Compute, serving: Serving, ray: Ray) -> list[System]:
    from qinsight_cli.core.bench.systems.fleet import FleetSystem
    from qinsight_cli.core.bench.systems.model import ModelSystem, parse_label
    from qinsight_cli.core.engines import engine_of
    from qinsight_cli.core.models.names import TINY, resolve

    systems: list[System] = []
    options = compute.options(serving)
    for name in names or ([TINY] if default else []):
        label, model = parse_label(name)
        if not serving.endpoint:
            resolve(engine_of(model)[1])
        if ray.ray is None:
            systems.append(ModelSystem(label, model, options))
        else:
            systems.append(FleetSystem(label, model, options, ray.fleet))
    return systems


def _predictions(arguments: list[str] | None) -> list[System]:
    from qinsight_cli.core.bench.systems.base import split_label
    from qinsight_cli.core.bench.systems.predictions import PredictionsFile

    systems: list[System] = []
    for argument in arguments or []:
        label, path = split_label(argument)
        if not label or not path:
            raise UsageError(f"--predictions {argument}: give LABEL=FILE.csv")
        systems.append(PredictionsFile(label, Path(path)))
    return systems


def _ablation(name: str, out: Path | None) -> None:
    """Write the recipes of an ablation, and show the commands that run them."""
    from qinsight_cli.core.bench.ablation import write_ablation

    folder = out or Path("runs") / name
    for line in write_ablation(name, folder):
        typer.echo(line)
    say(f"the recipes, and these commands as commands.sh, are in {folder}")


def _list(python: str | None) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from qinsight_cli.core.bench import availability
    from qinsight_cli.core.bench.paper import TABLES

    entries = list(availability.entries(python))
    widest = max(len(entry.row) for entry in entries)
    reasons: dict[str, int] = {}  # why a row cannot run now -> its number below the list
    show(Text("Each row: whether it can run now, and how to measure it.\n"))
    for table in TABLES:
        shown = Table.grid(padding=(0, 2, 0, 0))
        shown.add_column(width=widest, no_wrap=True)
        shown.add_column(width=3)
        shown.add_column(overflow="fold")
        for entry in (entry for entry in entries if entry.table == table.name):
            answer, _, why = entry.ready.partition(": ")
            answer, _, note = answer.partition(" ")
            mark = f"[{reasons.setdefault(why, len(reasons) + 1)}]" if why else note
            shown.add_row(
                Text(entry.row),
                Text(answer, style="green" if answer == "yes" else "dim"),
                Text(f"{entry.how} {mark}".strip()),
            )
        show(Text(f"{table.name} ({table.alias})", style="bold"))
        show(Padding(shown, (0, 0, 1, 2)))
    for why, number in reasons.items():
        show(Text(f"[{number}] {why}"))
    there, missing = availability.prepared()
    show(Text(f"prepared under data/: {', '.join(there) or 'nothing'}"))
    if missing:
        show(Text(f"not prepared (qinsight prepare NAME SOURCE): {', '.join(missing)}"))
