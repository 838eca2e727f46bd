"""Options that several commands share. Each is declared once, as a field of a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.answers import ANSWERS, Answers, Mode, ScoreAnswers
from qinsight_cli.commands.flat import written
from qinsight_cli.commands.fleet import FleetJob
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.engines import ModelOptions
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.images import MAX_PIXELS
from qinsight_cli.core.inference.journal import journal_path
from qinsight_cli.core.models.placement import NetworkOptions
from qinsight_cli.core.output_checks import same_file

OUTPUT, MODEL = "Output", "Model"
_output_option = partial(typer.Option, rich_help_panel=OUTPUT)
_model_option = partial(typer.Option, rich_help_panel=MODEL)
_max_pixels = partial(_model_option, "--max-pixels", min=0, metavar="N")


def _count(word: str) -> int | None:
    """The value of --batch-size: a number of at least 1, or None for auto."""
    if word == "auto":
        return None
    if not (word.isascii() and word.isdigit() and int(word)):
        raise typer.BadParameter("Input should be greater than or equal to 1, or auto")
    return int(word)


class Dtype(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Quantize(StrEnum):
    four = "4bit"
    eight = "8bit"


class Attention(StrEnum):
    auto = "auto"
    sdpa = "sdpa"
    flash = "flash"


Paths = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Files, folders, quoted globs, or - for a list on stdin.")
]
ModelName = Annotated[
    str,
    _model_option(
        "--model",
        metavar="NAME",
        help="tiny, q-insight, qwen2.5-vl-7b, a model folder, a hub id OWNER/NAME:SUBFOLDER@REVISION, or a model of "
        "--endpoint.",
    ),
]
MaxImagePixels = Annotated[
    int, _model_option("--max-image-pixels", min=1, metavar="N", help="Refuse pictures of more than N pixels.")
]
Force = Annotated[bool, _output_option("--force", help="Replace a file that qinsight did not write.")]
Restart = Annotated[bool, _output_option("--restart", help="Start over, without the answers of an interrupted run.")]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the rows go."""

    csv: Annotated[
        str | None, written("--csv", metavar="FILE", help="Write CSV to FILE, or - for stdout.", rich_help_panel=OUTPUT)
    ] = None
    jsonl: Annotated[
        str | None,
        written("--jsonl", metavar="FILE", help="Write JSON lines to FILE, or - for stdout.", rich_help_panel=OUTPUT),
    ] = None
    html: Annotated[
        str | None,
        written("--html", metavar="FILE", help="Write a gallery for a browser to FILE.", rich_help_panel=OUTPUT),
    ] = None
    show_reasoning: Annotated[
        bool, _output_option("--show-reasoning", help="Show the full reasoning in the table.")
    ] = False
    restart: Restart = False
    no_cache: Annotated[bool, _output_option("--no-cache", help="Do not use the cache of answers.")] = False
    force: Force = False

    def __post_init__(self) -> None:
        """Raises UsageError if two outputs are the same file, or one is the journal of another."""
        if self.html == "-":
            raise UsageError("--html needs a file: a gallery is not written to standard output")
        if self.csv == "-" and self.jsonl == "-":
            raise UsageError("--csv - and --jsonl - cannot share standard output: give one of them a file")
        options = {"--csv": self.csv, "--jsonl": self.jsonl, "--html": self.html}
        named = [(option, path) for option, path in options.items() if path is not None and path != "-"]
        for place, (option, path) in enumerate(named):
            for other, before in named[:place]:
                if same_file(before, path):
                    raise UsageError(f"{other} and {option} are both {before}: give two names")
            if place and same_file(journal_path(named[0][1]), path):
                raise UsageError(f"{option} {path} is the name of the journal of {named[0][1]}: give another name")

    @property
    def paths(self) -> list[str]:
        return [path for path in (self.csv, self.jsonl, self.html) if path is not None]

    @property
    def files(self) -> list[str]:
        """The paths without standard output. The first has a journal."""
        return [path for path in self.paths if path != "-"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a model runs."""

    device: Annotated[str, _model_option("--device", help="auto (one or several GPUs), cpu, cuda, cuda:1, mps.")] = (
        "auto"
    )
    dtype: Annotated[
        Dtype, _model_option("--dtype", help="auto is float32 on CPU, bfloat16 on GPU, float16 before Ampere.")
    ] = Dtype.auto
    batch_size: Annotated[
        int | None,
        _model_option(
            "--batch-size",
            parser=_count,
            metavar="N|auto",
            help="Pictures in a batch; auto: as many as fit into the free memory, at most 32 on a CPU and 256 on a "
            "GPU. (default: auto)",
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        _max_pixels(
            help="Scale pictures to at most N pixels; 0 is the model's own limit. (default: 1003520 for models of "
            "billions of weights, else 0)"
        ),
    ] = None
    quantize: Annotated[
        Quantize | None, _model_option("--quantize", help="Quantize the decoder to 4 or 8 bits (bitsandbytes).")
    ] = None
    attention: Annotated[
        Attention,
        _model_option("--attention", help="Attention of the vision tower; auto: flash if flash-attn is installed."),
    ] = Attention.auto
    offload: Annotated[
        bool, _model_option("--offload", help="Keep weights that do not fit on the GPU in main memory; slow.")
    ] = False

    def options(self, serving: Serving) -> ModelOptions:
        """How to load a model. Raises QInsightError for options that exclude each other."""
        network = NetworkOptions(self.quantize.value if self.quantize else "", self.attention.value, self.offload)
        return ModelOptions(self.device, self.dtype.value, self.max_pixels, network, serving.served)


@dataclass(frozen=True, kw_only=True)
class BenchCompute(Compute):
    """How a model runs. By default it gets pictures as large as it accepts."""

    max_pixels: Annotated[
        int | None,
        _max_pixels(
            help="Scale pictures to at most N pixels. (default: 0, the model's own limit, as in the paper)",
            show_default=False,
        ),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The options of score, degrade and compare."""

    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Ask only about the first N.")] = None
    output: Output
    model: ModelName = "tiny"
    serving: Serving
    fleet: FleetJob
    compute: Compute
    max_image_pixels: MaxImagePixels = MAX_PIXELS
    answers: Answers
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt",
            metavar="FILE",
            help="Use the prompt in FILE, for research; <image> in it marks the place of a picture.",
            rich_help_panel=ANSWERS,
        ),
    ] = None

    def __post_init__(self) -> None:
        self.serving.check(self.compute, self.answers.mode is Mode.direct)
        self.fleet.check(self.output.paths)


@dataclass(frozen=True, kw_only=True)
class Scoring(Judging):
    """The options of score."""

    answers: ScoreAnswers
