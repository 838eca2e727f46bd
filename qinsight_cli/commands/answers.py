"""The options of asking: how answers are drawn and ratings read, and the prompt of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from qinsight_cli.core.encodings import read_text
from qinsight_cli.core.engines import AUTHORS_DECODING, Decoding
from qinsight_cli.core.errors import QInsightError, UsageError

COLDEST, HOTTEST = 0.01, 100.0  # temperatures
ANSWERS = "Answers"
_option = partial(typer.Option, rich_help_panel=ANSWERS)


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


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How answers are drawn. The preset, or greedy decoding, fills in what is not given."""

    max_new_tokens: Annotated[
        int | None, _option("--max-new-tokens", min=1, metavar="N", help="Cut an answer after N tokens. (default: 512)")
    ] = None
    samples: Annotated[
        int | None, _option("--samples", min=1, metavar="N", help="Answers to draw for each question. (default: 1)")
    ] = None
    temperature: Annotated[
        float | None,
        _option(
            "--temperature",
            min=0.0,
            help="Temperature of sampling; 0 always takes the likeliest token. (default: 0, or 1 with several samples)",
        ),
    ] = None
    preset: Annotated[Preset | None, _option("--preset", help="authors: sample as their demo does.")] = None
    seed: Annotated[int, _option("--seed", help="Seed of the random draws.")] = 0
    mode: Annotated[
        Mode,
        _option(
            "--mode",
            help="reasoned: the model reasons first; direct: its likeliest answer is read at once, much faster.",
        ),
    ] = Mode.reasoned
    prompt_style: Annotated[
        PromptStyle,
        _option(
            "--prompt-style",
            help="Ask in the words of Table A, or in those of the authors' code, which trained their weights.",
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
        _option(
            "--rating",
            help="expected: the mean of the model's distribution over ratings; answer: the number as it writes it. "
            "(default: expected)",
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
        _option(
            "--rating",
            help="expected: the mean of the model's distribution over ratings; answer: the number as it writes it. "
            "(default: answer, as in the paper; expected with --mode direct)",
        ),
    ] = None


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
