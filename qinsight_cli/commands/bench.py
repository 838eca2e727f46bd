"""qinsight bench: the paper's tables, published beside measured."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qinsight_cli.commands import options
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from qinsight_cli.core.bench.paper import Table
    from qinsight_cli.core.bench.run import Protocol
    from qinsight_cli.core.bench.systems.base import AnswerSettings, System

SOME_ROWS_FAILED = 3
SYSTEMS, PROTOCOL = "What is measured", "Protocol"


class Plcc(StrEnum):
    raw = "raw"
    logistic = "logistic"


class Ties(StrEnum):
    wrong = "wrong"
    half = "half"


class DegradationQuestions(StrEnum):
    single = "single"
    sequential = "sequential"


Tables = Annotated[
    list[str] | None,
    typer.Argument(metavar="TABLE", help="table1 ... table5, tableB, an alias (--list shows them), or all."),
]
List = Annotated[bool, typer.Option("--list", help="Show every row, how it is obtained, and whether it can run now.")]
Data = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="DIR", help="A prepared dataset; repeatable. (default: those under data/)"),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Bench folder. (default: runs/TIME-bench-TABLE)")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="A stratified sample of N rows of each dataset.")
]
Split = Annotated[str, typer.Option("--split", help="Which split of the datasets.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[LABEL=]NAME",
        help="A model by name; deqa:NAME reads its rating from level words; repeatable. (default: tiny)",
        rich_help_panel=SYSTEMS,
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", metavar="NAME", help="psnr, ssim, or a metric of pyiqa; repeatable.", rich_help_panel=SYSTEMS
    ),
]
Predicted = Annotated[
    list[str] | None,
    typer.Option(
        "--predictions",
        metavar="LABEL=CSV",
        help="Answers from elsewhere: path,rating or path,distortion,severity or image_a,image_b,winner; repeatable.",
        rich_help_panel=SYSTEMS,
    ),
]
Python = Annotated[
    str | None,
    typer.Option("--baselines-python", metavar="PATH", help="The interpreter that has pyiqa.", rich_help_panel=SYSTEMS),
]
PlccOption = Annotated[
    Plcc, typer.Option("--plcc", help="Raw, or after a four-parameter logistic fit.", rich_help_panel=PROTOCOL)
]
TiesOption = Annotated[
    Ties, typer.Option("--ties", help="What Similar earns on a pair with a winner.", rich_help_panel=PROTOCOL)
]
Original = Annotated[
    bool,
    typer.Option("--original/--no-original", help="Count pairs with the original picture.", rich_help_panel=PROTOCOL),
]
ProtocolOption = Annotated[
    DegradationQuestions,
    typer.Option(
        "--protocol", help="One question for all distortions, or one for each as AgenticIR.", rich_help_panel=PROTOCOL
    ),
]
Bootstrap = Annotated[
    int,
    typer.Option(
        "--bootstrap", min=0, metavar="N", help="Resamples of the intervals; 0: none.", rich_help_panel=PROTOCOL
    ),
]
Intervals = Annotated[
    bool, typer.Option("--intervals", help="Show the 95 % intervals in the tables.", rich_help_panel=PROTOCOL)
]


def bench(
    tables: Tables = None,
    list_rows: List = False,
    data: Data = None,
    out: Out = None,
    limit: Limit = None,
    split: Split = "test",
    model: Models = None,
    metric: Metrics = None,
    predictions: Predicted = None,
    baselines_python: Python = None,
    plcc: PlccOption = Plcc.raw,
    ties: TiesOption = Ties.wrong,
    original: Original = True,
    protocol: ProtocolOption = DegradationQuestions.single,
    bootstrap: Bootstrap = 1000,
    intervals: Intervals = False,
    restart: options.Restart = False,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = 8,
    max_pixels: options.MaxPixels = None,
    max_new_tokens: options.MaxNewTokens = None,
    samples: options.Samples = None,
    temperature: options.Temperature = None,
    preset: options.PresetOption = None,
    seed: options.Seed = 0,
) -> None:
    """The paper's tables: published figures, and beside them what is measured here.

    Writes tables (CSV, Markdown, LaTeX), plots, every answer and bench.json into the bench folder. Interrupted and run
    again with the same --out, it finishes what is left.
    """
    if list_rows:
        _list(baselines_python)
        return
    chosen = _tables(tables)
    decoding = options.decoding_of(preset, max_new_tokens, samples, temperature)
    systems = [
        *_models(model, not (metric or predictions), (device, dtype.value, max_pixels)),
        *_metrics(metric, baselines_python, device),
        *_predictions(predictions),
    ]
    settings = _settings(
        out or _new_folder(chosen), decoding, batch_size, seed, restart, protocol is DegradationQuestions.sequential
    )
    how = _protocol(split, limit, plcc, ties, original, bootstrap, seed)
    _measure(chosen, data or [], systems, how, settings, intervals)


def _tables(names: list[str] | None) -> list[Table]:
    from qinsight_cli.core.bench.paper import choose_tables

    if not names:
        raise UsageError("which table? table1 ... table5, tableB, or all; --list shows them with their rows")
    return choose_tables(names)


def _settings(
    folder: Path, decoding: Decoding, batch_size: int, seed: int, restart: bool, sequential: bool
) -> AnswerSettings:
    from qinsight_cli.core.bench.systems.base import AnswerSettings
    from qinsight_cli.core.report.progress import progress_bar

    console = _stderr()
    return AnswerSettings(
        *(folder, decoding, batch_size, seed, restart, sequential),
        say=lambda words: _say(console, words),
        progress=lambda noun, total: progress_bar(noun, total, console),
    )


def _protocol(split: str, limit: int | None, plcc: Plcc, ties: Ties, original: bool, draws: int, seed: int) -> Protocol:
    from qinsight_cli.core.bench.run import Protocol

    return Protocol(split, limit, plcc is Plcc.logistic, ties.value, original, draws, seed)


def _measure(
    tables: list[Table],
    folders: list[Path],
    systems: list[System],
    how: Protocol,
    settings: AnswerSettings,
    intervals: bool,
) -> None:
    """Measure, write and show; exit code 3 when some rows have no answer."""
    from qinsight_cli.core.bench import output, render, run

    run.check_inputs(tables, folders, systems)
    output.claim(settings.folder)
    try:
        done = run.measure(tables, folders, systems, how, settings)
    except KeyboardInterrupt:
        settings.say(f"interrupted; to go on, run the same command with --out {shlex.quote(str(settings.folder))}")
        raise
    recorded = {"command": shlex.join(["qinsight", *sys.argv[1:]]), **run.recorded_settings(how, settings)}
    output.write(done, systems, settings.folder, recorded, intervals)
    for grid in done.grids:
        _show(render.terminal(grid, intervals))
    rows = "1 row" if done.failed == 1 else f"{done.failed:,} rows"
    failed = f"{rows} without an answer, " if done.failed else ""
    settings.say(f"{failed}written to {settings.folder}")
    if done.failed:
        raise typer.Exit(SOME_ROWS_FAILED)


def _new_folder(tables: list[Table]) -> Path:
    from datetime import datetime

    names = [table.name for table in tables]
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-bench-{names[0] if len(names) == 1 else 'tables'}"


def _models(names: list[str] | None, default: bool, settings: tuple[str, str, int | None]) -> list[System]:
    from qinsight_cli.core.bench.systems.model import LEVEL_WORD_PREFIX, ModelSystem, parse_label
    from qinsight_cli.core.models.names import TINY, resolve

    systems: list[System] = []
    for name in names or ([TINY] if default else []):
        label, model = parse_label(name)
        resolve(model.removeprefix(LEVEL_WORD_PREFIX))
        systems.append(ModelSystem(label, model, *settings))
    return systems


def _metrics(names: list[str] | None, python: str | None, device: str) -> list[System]:
    from qinsight_cli.core.bench.systems.metric import MetricSystem, baseline_of

    baselines = [baseline_of(name) for name in names or []]
    return [MetricSystem(each.row, each, python, device) for each in baselines]


def _predictions(arguments: list[str] | None) -> list[System]:
    from qinsight_cli.core.bench.systems.predictions import PredictionsFile

    systems: list[System] = []
    for argument in arguments or []:
        label, equals, path = argument.partition("=")
        if not equals or not label.strip() or not path:
            raise UsageError(f"--predictions {argument}: give LABEL=FILE.csv")
        systems.append(PredictionsFile(label.strip(), Path(path)))
    return systems


def _list(python: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from qinsight_cli.core.bench import availability
    from qinsight_cli.core.bench.paper import TABLES

    shown = Table(pad_edge=False, header_style="bold", box=None)
    for column in ("table", "row", "how it is obtained", "can run now"):
        shown.add_column(column, overflow="fold")
    before = ""
    for entry in availability.entries(python):
        table = next(table for table in TABLES if table.name == entry.table)
        name = f"{table.name}\n({table.alias})" if entry.table != before else ""
        ready = Text(entry.ready, style="green" if entry.ready.startswith("yes") else "dim")
        if before and entry.table != before:
            shown.add_section()
        shown.add_row(name, entry.row, entry.how, ready)
        before = entry.table
    _show(shown)
    there, missing = availability.prepared()
    _show(Text(f"prepared under data/: {', '.join(there) or 'nothing'}"))
    if missing:
        _show(Text(f"not prepared (qinsight prepare NAME SOURCE): {', '.join(missing)}"))


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _say(console: Console, words: str) -> None:
    """One line on stderr, as it is."""
    from rich.text import Text

    from qinsight_cli.core.report.tables import printable

    console.print(Text(printable(words)), soft_wrap=True)


def _show(what: Any) -> None:
    """On a terminal as wide as it is; into a pipe or a file as wide as it must be."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(what)
