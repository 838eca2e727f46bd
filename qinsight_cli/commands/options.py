"""The options that several commands share, each declared once as a field of a dataclass."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from qinsight_cli.commands.flat import written
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.encodings import read_text
from qinsight_cli.core.engines import AUTHORS_DECODING, Decoding
from qinsight_cli.core.errors import QInsightError, UsageError
from qinsight_cli.core.files import check_output_name, same_file
from qinsight_cli.core.images import MAX_PIXELS
from qinsight_cli.core.inference.journal import journal_path
from qinsight_cli.core.models.placement import NetworkOptions

COLDEST, HOTTEST = 0.01, 100.0  # temperatures
OUTPUT, MODEL, ANSWERS = "Output", "Model", "Answers"


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


class Preset(StrEnum):
    authors = "authors"


class PromptStyle(StrEnum):
    paper = "paper"
    authors = "authors"


class Mode(StrEnum):
    reasoned = "reasoned"
    direct = "direct"


class Rating(StrEnum):
    expected = "expected"
    answer = "answer"


Paths = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Files, folders, quoted globs, or - for a list on stdin.")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Forget what an interrupted run has done.", rich_help_panel=OUTPUT)
]


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
    show_reasoning: Annotated[
        bool, typer.Option("--show-reasoning", help="Show the whole reasoning in the table.", rich_help_panel=OUTPUT)
    ] = False
    restart: Restart = False
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Neither use nor keep answers in the cache.", rich_help_panel=OUTPUT),
    ] = False
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a file that qinsight did not write.", rich_help_panel=OUTPUT),
    ] = False

    def __post_init__(self) -> None:
        """Raises UsageError if both outputs have the same path, or one has that of the other's journal."""
        for option, path in (("--csv", self.csv), ("--jsonl", self.jsonl)):
            if path not in (None, "-"):
                check_output_name(str(path), option)
        if self.csv == "-" and self.jsonl == "-":
            raise UsageError("--csv - and --jsonl - cannot share standard output: give one of them a file")
        if self.csv and self.jsonl and same_file(self.csv, self.jsonl):
            raise UsageError(f"--csv and --jsonl are both {self.csv}: give two names")
        if len(self.files) == 2 and same_file(journal_path(self.files[0]), self.files[1]):
            raise UsageError(f"--jsonl {self.jsonl} is the name of the journal of {self.csv}: give another name")

    @property
    def paths(self) -> list[str]:
        return [path for path in (self.csv, self.jsonl) if path is not None]

    @property
    def files(self) -> list[str]:
        """The paths that are not standard output. A journal belongs to the first."""
        return [path for path in self.paths if path != "-"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a model is run."""

    device: Annotated[
        str,
        typer.Option("--device", help="auto (also over several GPUs), cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL),
    ] = "auto"
    dtype: Annotated[
        Dtype,
        typer.Option(
            "--dtype", help="auto is float32 on CPU, bfloat16 on GPU, float16 before Ampere.", rich_help_panel=MODEL
        ),
    ] = Dtype.auto
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="N", help="Images at a time.", rich_help_panel=MODEL)
    ] = 8
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            min=0,
            metavar="N",
            help="Resize to at most N pixels; 0 is the model's own limit. (default: 1003520 for models of billions of "
            "weights, else 0)",
            rich_help_panel=MODEL,
        ),
    ] = None
    quantize: Annotated[
        Quantize | None,
        typer.Option(
            "--quantize", help="Hold the decoder's weights in 4 or 8 bits (bitsandbytes).", rich_help_panel=MODEL
        ),
    ] = None
    attention: Annotated[
        Attention,
        typer.Option(
            "--attention",
            help="Of the vision tower; auto is flash where flash-attn is installed.",
            rich_help_panel=MODEL,
        ),
    ] = Attention.auto
    offload: Annotated[
        bool,
        typer.Option(
            "--offload", help="Keep in main memory what does not fit on the GPU; slow.", rich_help_panel=MODEL
        ),
    ] = False

    @property
    def network(self) -> NetworkOptions:
        """How the network is held and run. Raises QInsightError for options that cannot go together."""
        return NetworkOptions(self.quantize.value if self.quantize else "", self.attention.value, self.offload)


@dataclass(frozen=True, kw_only=True)
class BenchCompute(Compute):
    """How a model is run, with pictures as large as the model takes them if nothing else is asked for."""

    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            min=0,
            metavar="N",
            help="Resize to at most N pixels. (default: 0, the model's own limit, as in the paper)",
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How answers are drawn. The preset, or greedy decoding, fills in what is not given."""

    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens", min=1, metavar="N", help="At most N tokens. (default: 512)", rich_help_panel=ANSWERS
        ),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=1, metavar="N", help="Answers to draw. (default: 1)", rich_help_panel=ANSWERS),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            min=0.0,
            help="0 is greedy. (default: 0, or 1 with several samples)",
            rich_help_panel=ANSWERS,
        ),
    ] = None
    preset: Annotated[
        Preset | None, typer.Option("--preset", help="Sample as the authors' demo does.", rich_help_panel=ANSWERS)
    ] = None
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draws.", rich_help_panel=ANSWERS)] = 0
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode", help="direct: read the likeliest answer without reasoning, much faster.", rich_help_panel=ANSWERS
        ),
    ] = Mode.reasoned
    prompt_style: Annotated[
        PromptStyle,
        typer.Option(
            "--prompt-style",
            help="Ask in the words of Table A, or in those of the authors' code, which trained their weights.",
            rich_help_panel=ANSWERS,
        ),
    ] = PromptStyle.paper

    def __post_init__(self) -> None:
        """Raises UsageError for options of writing where nothing is written, when several samples are asked for at
        temperature 0, where all would be the same, and for a temperature at which nothing but the likeliest token, or
        any token, would be drawn."""
        if self.mode is Mode.direct:
            for name in ("max_new_tokens", "samples", "temperature", "preset"):
                if getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise UsageError(f"--mode direct writes nothing, which leaves nothing to {option}: leave it out")
        if self.temperature and not COLDEST <= self.temperature <= HOTTEST:  # also true of NaN
            raise UsageError(f"--temperature {self.temperature:g} is neither 0 nor between {COLDEST:g} and {HOTTEST:g}")
        if self.samples is not None and self.samples > 1 and self.temperature == 0:
            raise UsageError(
                f"--samples {self.samples} with --temperature 0 draws the same answer {self.samples} times: "
                "raise --temperature or leave out --samples"
            )

    @property
    def decoding(self) -> Decoding:
        """The options on top of the preset. Without a temperature, several samples are drawn at 1.0."""
        base = AUTHORS_DECODING if self.preset is Preset.authors else Decoding()
        given = {name: getattr(self, name) for name in ("max_new_tokens", "samples", "temperature")}
        decoding = replace(base, **{name: value for name, value in given.items() if value is not None})
        decoding = replace(decoding, mode=self.mode.value)
        several = decoding.samples > 1 and decoding.temperature == 0
        return replace(decoding, temperature=1.0) if several else decoding


@dataclass(frozen=True, kw_only=True)
class ScoreAnswers(Answers):
    """How ratings are drawn and read."""

    written: ClassVar = False  # whether a rating is the number as written when nothing else is asked for
    rating: Annotated[
        Rating | None,
        typer.Option(
            "--rating",
            help="The mean of the model's distribution over ratings, or the number as it writes it. "
            "(default: expected)",
            rich_help_panel=ANSWERS,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises UsageError for a written rating where nothing is written."""
        super().__post_init__()
        if self.mode is Mode.direct and self.rating is Rating.answer:
            raise UsageError("--mode direct writes no number for --rating answer: leave out one of them")

    @property
    def decoding(self) -> Decoding:
        default = Rating.answer if self.written and self.mode is Mode.reasoned else Rating.expected
        return replace(super().decoding, rating=(self.rating or default).value)


@dataclass(frozen=True, kw_only=True)
class BenchAnswers(ScoreAnswers):
    """How answers are drawn, and ratings read as the paper reads them if nothing else is asked for."""

    written: ClassVar = True
    rating: Annotated[
        Rating | None,
        typer.Option(
            "--rating",
            help="The mean of the model's distribution over ratings, or the number as it writes it. "
            "(default: answer, as in the paper; expected with --mode direct)",
            rich_help_panel=ANSWERS,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The options of score, degrade and compare. A new one is one more field."""

    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N.")] = None
    output: Output
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="tiny, q-insight, qwen2.5-vl-7b, a model folder, a hub id OWNER/NAME:SUBFOLDER@REVISION, or a name "
            "that --endpoint serves.",
            rich_help_panel=MODEL,
        ),
    ] = "tiny"
    serving: Serving
    compute: Compute
    max_image_pixels: Annotated[
        int,
        typer.Option(
            "--max-image-pixels",
            min=1,
            metavar="N",
            help="Refuse pictures of more than N pixels.",
            rich_help_panel=MODEL,
        ),
    ] = MAX_PIXELS
    answers: Answers
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt",
            metavar="FILE",
            help="Use the prompt in FILE, for research; <image> in it is the place of a picture.",
            rich_help_panel=ANSWERS,
        ),
    ] = None

    def __post_init__(self) -> None:
        self.serving.check(self.compute, self.answers.mode is Mode.direct)


@dataclass(frozen=True, kw_only=True)
class Scoring(Judging):
    """The options of score."""

    answers: ScoreAnswers


def read_prompt(path: Path | None) -> str | None:
    """The words of a prompt file, without the last line end. Raises QInsightError when they cannot be read."""
    if path is None:
        return None
    try:
        words = read_text(path).strip()
    except QInsightError as error:
        raise QInsightError(f"the prompt: {error}") from None
    if not words:
        raise QInsightError(f"the prompt {path} is empty")
    control = re.search(r"<\|[A-Za-z0-9_]+\|>", words)
    if control is not None:
        raise QInsightError(f"the prompt {path} holds {control.group()}, a control token of the model; leave it out")
    return words
