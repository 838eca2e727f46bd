"""Options that several verbs share, declared once."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.core.engines import AUTHORS_DECODING, Decoding
from qinsight_cli.core.errors import QInsightError, UsageError


class Dtype(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Preset(StrEnum):
    authors = "authors"


OUTPUT, MODEL, ANSWERS = "Output", "Model", "Answers"

Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE", help="Write CSV to FILE, or - for stdout.", rich_help_panel=OUTPUT),
]
Jsonl = Annotated[
    str | None,
    typer.Option("--jsonl", metavar="FILE", help="Write JSON lines to FILE, or - for stdout.", rich_help_panel=OUTPUT),
]
ShowReasoning = Annotated[
    bool, typer.Option("--show-reasoning", help="Whole reasoning in the table.", rich_help_panel=OUTPUT)
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Forget what an interrupted run has done.", rich_help_panel=OUTPUT)
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N.")]

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="tiny, q-insight, qwen2.5-vl-7b, a model folder, or a hub id OWNER/NAME:SUBFOLDER@REVISION.",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL)]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="auto is float32 on CPU, bfloat16 on GPU.", rich_help_panel=MODEL)
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, metavar="N", help="Images at a time.", rich_help_panel=MODEL)
]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, metavar="N", help="Resize to at most N pixels.", rich_help_panel=MODEL),
]

MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", min=1, metavar="N", help="At most N tokens. (default: 512)", rich_help_panel=ANSWERS
    ),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=1, metavar="N", help="Answers to draw. (default: 1)", rich_help_panel=ANSWERS),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0.0,
        help="0 is greedy. (default: 0, or 1 with several samples)",
        rich_help_panel=ANSWERS,
    ),
]
PresetOption = Annotated[
    Preset | None,
    typer.Option("--preset", help="Sample as the authors' demo does.", rich_help_panel=ANSWERS),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the random draws.", rich_help_panel=ANSWERS)]
Prompt = Annotated[
    Path | None,
    typer.Option("--prompt", metavar="FILE", help="Ask in the words of FILE, for research.", rich_help_panel=ANSWERS),
]


def decoding_of(
    preset: Preset | None, max_new_tokens: int | None, samples: int | None, temperature: float | None
) -> Decoding:
    """The options on top of the preset. Several samples at no temperature given are drawn at 1.0.

    Raises UsageError when several samples are asked for at temperature 0, where all would be the same.
    """
    base = AUTHORS_DECODING if preset is Preset.authors else Decoding()
    given = {"max_new_tokens": max_new_tokens, "samples": samples, "temperature": temperature}
    decoding = replace(base, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if decoding.samples > 1 and decoding.temperature == 0:
        if temperature is not None:
            raise UsageError(
                f"--samples {decoding.samples} with --temperature 0 draws the same answer {decoding.samples} times: "
                "raise --temperature or leave out --samples"
            )
        decoding = replace(decoding, temperature=1.0)
    return decoding


def read_prompt(path: Path | None) -> str | None:
    """The words of a prompt file, without the last line end. Raises QInsightError when they cannot be read."""
    if path is None:
        return None
    try:
        words = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise QInsightError(f"cannot read the prompt {path}: {getattr(error, 'strerror', None) or error}") from None
    if not words:
        raise QInsightError(f"the prompt {path} is empty")
    return words
