"""`qinsight prepare`: one command for each dataset. Each writes a checked manifest."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands import prepare_check, prepare_pairs, prepare_synth
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.prepare_dataset import Preparing, Rated, Reasoning, Source, Splitting, Table, run
from qinsight_cli.core.data.readers import NAMES, reader
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.score import TASK as SCORE

DEFAULT_TASK = SCORE.name

app = typer.Typer(
    no_args_is_help=True, help="Turn a dataset, or a folder of photos, into a manifest for train and bench."
)
app.command("check")(prepare_check.check)
app.command("synth")(prepare_synth.synth)
app.command("pairs")(prepare_pairs.pairs)


class Size(StrEnum):
    large = "1024x768"
    small = "512x384"


class Orders(StrEnum):
    swap = "swap"
    both = "both"
    original = "original"


class Truth(StrEnum):
    mos = "mos"
    votes = "votes"


def _help(name: str) -> str:
    return str(reader(name).DATASET.help)


def add_dataset(name: str) -> None:
    """Add the command of a dataset whose reader has no options."""

    @app.command(name, help=_help(name))
    @flat
    def command(source: Source, options: Rated) -> None:
        run(reader(name).read(source.resolve()), options)


@app.command(help=_help("koniq"))
@flat
def koniq(
    source: Source,
    size: Annotated[Size | None, typer.Option("--size", help="The picture folder; the largest by default.")] = None,
    *,
    options: Rated,
) -> None:
    run(reader("koniq").read(source.resolve(), size), options)


@app.command(help=_help("spaq"))
@flat
def spaq(
    source: Source,
    short_side: Annotated[
        int | None,
        typer.Option("--short-side", min=32, metavar="N", help="Scale larger pictures down (512 is common)."),
    ] = None,
    *,
    options: Rated,
) -> None:
    run(reader("spaq").read(source.resolve()), options, short_side=short_side)


@app.command(help=_help("livew"))
@flat
def livew(
    source: Source,
    keep_training: Annotated[
        bool, typer.Option("--keep-training", help="Keep the first 7 pictures, with which raters were trained.")
    ] = False,
    *,
    options: Rated,
) -> None:
    run(reader("livew").read(source.resolve(), keep_training), options)


@app.command(help=_help("kadis"))
@flat
def kadis(
    source: Source,
    train: Annotated[int, typer.Option("--train", min=0, metavar="N", help="Training rows to draw; 0 for all.")] = 7000,
    test: Annotated[int, typer.Option("--test", min=0, metavar="N", help="Test rows to draw; 0 for all.")] = 1000,
    reasoning: Reasoning = False,
    *,
    options: Preparing,
) -> None:
    labelled = reader("kadis").read(source.resolve())
    quota = {split: count for split, count in (("train", train), ("test", test)) if count}
    limit, share = options.limit, None
    if len(quota) == 2 and not any(label.split for label in labelled.labels):
        limit, share = min(limit or train + test, train + test), test / (train + test)
    run(labelled, options, limit=limit, quota=quota, test_share=share, reasoning=reasoning)


@app.command(help=_help("diffiqa"))
@flat
def diffiqa(
    source: Source,
    orders: Annotated[
        Orders,
        typer.Option(
            "--orders", help="swap: exchange A and B in half of the pairs; both: write both orders; original."
        ),
    ] = Orders.swap,
    *,
    options: Splitting,
) -> None:
    run(reader("diffiqa").read(source.resolve(), orders, options.seed), options)


@app.command(help=_help("srbench"))
@flat
def srbench(
    source: Source,
    truth: Annotated[
        Truth | None, typer.Option("--truth", help="Winner by MOS, or by the raters' votes; MOS by default.")
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(
            "--references", metavar="FOLDER", help="One reference per content, such as the low-resolution inputs."
        ),
    ] = None,
    *,
    options: Preparing,
) -> None:
    folder = references.resolve() if references else None
    run(reader("srbench").read(source.resolve(), truth, folder, options.seed), options)


@app.command("csv")
@flat
def csv_table(
    file: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or Excel file (.xlsx).")],
    task: Annotated[str, typer.Option("--task", help=f"The task of the labels: {', '.join(TASKS)}.")] = DEFAULT_TASK,
    image_column: Annotated[
        str | None, typer.Option("--image-column", help="Column of the picture's path; the task's own by default.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Column of the score; the task's own by default.")
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--label-range", metavar="LO HI", help="Ends of the scale; the table's extremes by default."),
    ] = None,
    reference_column: Annotated[
        str | None,
        typer.Option("--reference-column", help="Column of the reference, which keeps a content in one split."),
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="The table has no header: columns are named 1, 2, ...")
    ] = False,
    *,
    table: Table,
    options: Rated,
) -> None:
    """Any table with a label for each picture: a score, or another task's columns as qinsight writes them."""
    from qinsight_cli.core.data.readers.csv_table import Columns, read

    if task not in TASKS:
        raise UsageError(f"--task {task}: tasks are {', '.join(TASKS)}")
    columns = Columns(image_column, label_column, reference_column)
    name = table.name or file.stem
    scale = (label_range, table.lower_is_better)
    labelled = read(file.resolve(), columns, name, table.folder, *scale, task=TASKS[task], header=not no_header)
    run(labelled, options)


@app.command("json")
@flat
def json_records(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="JSON", help="JSON files, or folders of them; train* and test* become splits."),
    ],
    *,
    table: Table,
    options: Rated,
) -> None:
    """The meta files of DeQA-Score and Q-Align: records with image and gt_score_norm or gt_score."""
    from qinsight_cli.core.data.readers.records import read

    labelled = read(
        [source.resolve() for source in sources], table.name or sources[0].stem, table.folder, table.lower_is_better
    )
    run(labelled, options)


_own = {command.callback.__name__ for command in app.registered_commands if command.callback}
for _name in NAMES:
    if _name not in _own:
        add_dataset(_name)
