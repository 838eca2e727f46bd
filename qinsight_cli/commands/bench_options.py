"""Options of `qinsight bench`: the systems to measure, the rows, and how answers become figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.flat import written

SYSTEMS, PROTOCOL = "What is measured", "Protocol"
_system_option = partial(typer.Option, rich_help_panel=SYSTEMS)
_protocol_option = partial(typer.Option, rich_help_panel=PROTOCOL)


class Plcc(StrEnum):
    raw = "raw"
    logistic = "logistic"


class Ties(StrEnum):
    wrong = "wrong"
    half = "half"


class DegradationQuestions(StrEnum):
    single = "single"
    sequential = "sequential"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The systems to measure, each of which gets a row."""

    model: Annotated[
        list[str] | None,
        _system_option(
            "--model",
            "--row",
            metavar="[LABEL=]NAME",
            help="A model, with a label that may be a row of the table; deqa:NAME rates by level words; repeatable. "
            "(default: tiny)",
        ),
    ] = None
    metric: Annotated[
        list[str] | None,
        _system_option("--metric", metavar="NAME", help="psnr, ssim, or a metric of pyiqa; repeatable."),
    ] = None
    predictions: Annotated[
        list[str] | None,
        _system_option(
            "--predictions",
            metavar="LABEL=CSV",
            help="Answers of another system: path,rating or path,distortion,severity or image_a,image_b,winner; "
            "repeatable.",
        ),
    ] = None
    baselines_python: Annotated[
        str | None, _system_option("--baselines-python", metavar="PATH", help="A Python interpreter with pyiqa.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How answers become figures."""

    plcc: Annotated[
        Plcc,
        _protocol_option("--plcc", help="PLCC of the raw ratings, or after a four-parameter logistic fit."),
    ] = Plcc.raw
    ties: Annotated[
        Ties,
        _protocol_option("--ties", help="How Similar counts on a pair with a winner: wrong, or half a point."),
    ] = Ties.wrong
    original: Annotated[
        bool, _protocol_option("--original/--no-original", help="Count pairs with the original picture.")
    ] = True
    protocol: Annotated[
        DegradationQuestions,
        _protocol_option("--protocol", help="One question for all distortions, or one for each, as in AgenticIR."),
    ] = DegradationQuestions.single
    bootstrap: Annotated[
        int,
        _protocol_option(
            "--bootstrap", min=0, metavar="N", help="Bootstrap resamples of the intervals; 0: no intervals."
        ),
    ] = 1000
    intervals: Annotated[bool, _protocol_option("--intervals", help="Show the 95 % intervals in the tables.")] = False


@dataclass(frozen=True, kw_only=True)
class Where:
    """The rows to measure, and the folder to write."""

    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DIR", help="A prepared dataset; repeatable. (default: those under data/)"),
    ] = None
    out: Annotated[
        Path | None, written("--out", metavar="DIR", help="Bench folder. (default: runs/TIME-bench-TABLE)")
    ] = None
    html: Annotated[
        str | None,
        written("--html", metavar="FILE", help="Write a gallery of every answer to FILE, the largest errors first."),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Measure a stratified sample of N rows per dataset."),
    ] = None
    split: Annotated[str, typer.Option("--split", help="The split to measure.")] = "test"
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data other than the paper's.")] = False
