"""The options of answers: how they are sampled, how ratings are read, and a prompt from a file."""

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

LOWEST, HIGHEST = 0.01, 100.0  # temperatures
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
    """How answers are sampled. The preset, or greedy decoding, fills in what is not given."""

    max_new_tokens: Annotated[
        int | None, _option("--max-new-tokens", min=1, metavar="N", help="Token limit of an answer. (default: 512)")
    ] = None
    samples: Annotated[
        int | None, _option("--samples", min=1, metavar="N", help="Answers to sample per question. (default: 1)")
    ] = None
    temperature: Annotated[
        float | None,
        _option(
            "--temperature",
            min=0.0,
            help="Sampling temperature; 0: always the likeliest token. (default: 0, or 1 with several samples)",
        ),
    ] = None
    preset: Annotated[Preset | None, _option("--preset", help="authors: sample as the authors' demo.")] = None
    seed: Annotated[int, _option("--seed", help="Seed of the random draws.")] = 0
    mode: Annotated[
        Mode,
        _option(
            "--mode",
            help="reasoned: the model writes its reasoning first; direct: its likeliest answer is read at once, much "
            "faster.",
        ),
    ] = Mode.reasoned
    prompt_style: Annotated[
        PromptStyle,
        _option(
            "--prompt-style",
            help="paper: the prompts of Table A; authors: the prompts of the authors' code, with which they trained.",
        ),
    ] = PromptStyle.paper

    def __post_init__(self) -> None:
        """Raises UsageError for options that have no effect with --mode direct, for several samples at temperature 0,
        and for a temperature so low or so high that sampling makes no sense."""
        if self.mode is Mode.direct:
            for name in ("max_new_tokens", "samples", "temperature", "preset"):
                if getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise UsageError(f"--mode direct writes no text, so {option} has no effect: leave it out")
        if self.temperature and not LOWEST <= self.temperature <= HIGHEST:  # also true for NaN
            raise UsageError(f"--temperature {self.temperature:g} is neither 0 nor between {LOWEST:g} and {HIGHEST:g}")
        if self.samples is not None and self.samples > 1 and self.temperature == 0:
            raise UsageError(
                f"--samples {self.samples} with --temperature 0 gives the same answer {self.samples} times: "
                "raise --temperature or leave out --samples"
            )

    @property
    def decoding(self) -> Decoding:
        """The preset with the given options. Several samples have temperature 1.0 by default."""
        base = AUTHORS_DECODING if self.preset is Preset.authors else Decoding()
        given = {name: getattr(self, name) for name in ("max_new_tokens", "samples", "temperature")}
        decoding = replace(base, **{name: value for name, value in given.items() if value is not None})
        decoding = replace(decoding, mode=self.mode.value)
        several = decoding.samples > 1 and decoding.temperature == 0
        return replace(decoding, temperature=1.0) if several else decoding


@dataclass(frozen=True, kw_only=True)
class ScoreAnswers(Answers):
    """How ratings are sampled and read."""

    default_rating: ClassVar = Rating.expected  # of reasoned answers
    rating: Annotated[
        Rating | None,
        _option(
            "--rating",
            help="expected: the mean of the model's distribution over ratings; answer: the number that it writes. "
            "(default: expected)",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises UsageError for --rating answer with --mode direct."""
        super().__post_init__()
        if self.mode is Mode.direct and self.rating is Rating.answer:
            raise UsageError("--mode direct writes no number for --rating answer: leave out one of them")

    @property
    def decoding(self) -> Decoding:
        default = self.default_rating if self.mode is Mode.reasoned else Rating.expected
        return replace(super().decoding, rating=(self.rating or default).value)


@dataclass(frozen=True, kw_only=True)
class BenchAnswers(ScoreAnswers):
    """How ratings are sampled and read in the bench: by default as in the paper."""

    default_rating: ClassVar = Rating.answer
    rating: Annotated[
        Rating | None,
        _option(
            "--rating",
            help="expected: the mean of the model's distribution over ratings; answer: the number that it writes. "
            "(default: answer, as in the paper; expected with --mode direct)",
        ),
    ] = None


def read_prompt(path: Path | None) -> str | None:
    """The text of a prompt file, without surrounding whitespace. Raises QInsightError if it cannot be used."""
    if path is None:
        return None
    try:
        words = read_text(path).strip()
    except QInsightError as error:
        raise QInsightError(f"the prompt: {error}") from None
    if not words:
        raise QInsightError(f"the prompt {path} is empty; write the question into it")
    control = re.search(r"<\|[A-Za-z0-9_]+\|>", words)
    if control is not None:
        raise QInsightError(f"the prompt {path} has {control.group()}, a control token of the model; remove it")
    return words
