"""`qinsight prepare`: a dataset in its original layout -> one checked manifest."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands import prepare_check, prepare_pairs, prepare_synth
from qinsight_cli.commands.options import flat
from qinsight_cli.commands.prepare_dataset import Preparing, Rated, Reasoning, Source, Splitting, Table, run

app = typer.Typer(
    no_args_is_help=True, help="Turn a dataset, or a folder of photos, into a manifest for train and bench."
)
app.command("check")(prepare_check.check)
app.command("synth")(prepare_synth.synth)
app.command("pairs")(prepare_pairs.pairs)

# Datasets whose reader takes nothing but the folder.
PLAIN = {
    "kadid": "KADID-10k: 81 photos under 25 distortions at 5 levels, MOS 1-5. All for testing, as in the paper.",
    "pipal": "PIPAL: restored and distorted pictures with Elo ratings. All for testing, as in the paper.",
    "agiqa": "AGIQA-3K: pictures by generative models, quality MOS 0-5. All for testing, as in the paper.",
    "csiq": "CSIQ: 30 photos under 6 distortions, DMOS 0-1 turned around. All for testing, as in the paper.",
    "tid2013": "TID2013: 25 photos under 24 distortions, MOS 0-9. A fifth of the photos is held out.",
    "biq2021": "BIQ2021: camera photos, MOS 0-1. The official split with both tables, else a tenth is held out.",
}


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


def _plain(name: str, words: str) -> None:
    @app.command(name, help=words)
    @flat
    def command(source: Source, options: Rated) -> None:
        read = import_module(f"qinsight_cli.core.data.readers.{name}").read
        run(read(source.resolve()), options)


@app.command()
@flat
def koniq(
    source: Source,
    size: Annotated[Size | None, typer.Option("--size", help="Which picture folder; the largest by default.")] = None,
    *,
    options: Rated,
) -> None:
    """KonIQ-10k: 10,073 photos, MOS 0-100 with the official split, or the older file with MOS 1-5."""
    from qinsight_cli.core.data.readers.koniq import read

    run(read(source.resolve(), size), options)


@app.command()
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
    """SPAQ: 11,125 smartphone photos, MOS 0-100. All for testing, as in the paper."""
    from qinsight_cli.core.data.readers.spaq import read

    run(read(source.resolve()), options, short_side=short_side)


@app.command()
@flat
def livew(
    source: Source,
    keep_training: Annotated[
        bool, typer.Option("--keep-training", help="Keep the first 7, shown for training.")
    ] = False,
    *,
    options: Rated,
) -> None:
    """LIVE In the Wild: 1,169 phone photos, MOS 0-100, without the first 7. All for testing, as in the paper."""
    from qinsight_cli.core.data.readers.livew import read

    run(read(source.resolve(), keep_training), options)


@app.command()
@flat
def kadis(
    source: Source,
    train: Annotated[int, typer.Option("--train", min=0, metavar="N", help="Training rows to draw; 0 for all.")] = 7000,
    test: Annotated[int, typer.Option("--test", min=0, metavar="N", help="Test rows to draw; 0 for all.")] = 1000,
    reasoning: Reasoning = False,
    *,
    options: Preparing,
) -> None:
    """DQ-495K's single distortions: noise, blur, compression, darken and none, 7,000 and 1,000 as in the paper."""
    from qinsight_cli.core.data.readers.kadis import read

    labelled = read(source.resolve())
    quota = {split: count for split, count in (("train", train), ("test", test)) if count}
    limit, share = options.limit, None
    if len(quota) == 2 and not any(label.split for label in labelled.labels):
        limit, share = min(limit or train + test, train + test), test / (train + test)
    run(labelled, options, limit=limit, quota=quota, test_share=share, reasoning=reasoning)


@app.command()
@flat
def diffiqa(
    source: Source,
    orders: Annotated[
        Orders, typer.Option("--orders", help="Swap A and B in a seeded half, write both orders, or keep the file's.")
    ] = Orders.swap,
    *,
    options: Splitting,
) -> None:
    """The authors' 5,000 comparisons on DiffIQA (train_comparison.json), all for training."""
    from qinsight_cli.core.data.readers.diffiqa import read

    run(read(source.resolve(), orders, options.seed), options)


@app.command()
@flat
def srbench(
    source: Source,
    truth: Annotated[
        Truth | None, typer.Option("--truth", help="Winner by MOS or by the raters' votes; MOS by default.")
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(
            "--references", metavar="FOLDER", help="One reference a content, such as the low-resolution inputs."
        ),
    ] = None,
    *,
    options: Preparing,
) -> None:
    """SRIQA-Bench: all pairs of 11 pictures of 100 contents, for testing."""
    from qinsight_cli.core.data.readers.srbench import read

    folder = references.resolve() if references else None
    run(read(source.resolve(), truth, folder, options.seed), options)


@app.command("csv")
@flat
def csv_table(
    file: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV file with a header.")],
    image_column: Annotated[str, typer.Option("--image-column", help="Column of the picture's path.")],
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the score.")],
    label_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--label-range", metavar="LO HI", help="Ends of the scale; the table's extremes by default."),
    ] = None,
    reference_column: Annotated[
        str | None, typer.Option("--reference-column", help="Column of the undistorted picture, kept on one side.")
    ] = None,
    *,
    table: Table,
    options: Rated,
) -> None:
    """Any table of pictures with a score each."""
    from qinsight_cli.core.data.readers.csv_table import Columns, read

    columns = Columns(image_column, label_column, reference_column)
    labelled = read(file.resolve(), columns, table.name or file.stem, table.folder, label_range, table.lower_is_better)
    run(labelled, options)


@app.command("json")
@flat
def json_records(
    sources: Annotated[list[Path], typer.Argument(help="JSON files, or folders of them; train* and test* are splits.")],
    *,
    table: Table,
    options: Rated,
) -> None:
    """DeQA-Score's and Q-Align's meta files: records with image and gt_score_norm or gt_score."""
    from qinsight_cli.core.data.readers.records import read

    labelled = read(
        [source.resolve() for source in sources], table.name or sources[0].stem, table.folder, table.lower_is_better
    )
    run(labelled, options)


for _name, _words in PLAIN.items():
    _plain(_name, _words)
