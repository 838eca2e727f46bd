"""qinsight score: a rating from 1 to 5 and the reasoning, for each picture."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qinsight_cli.commands import judging, options
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.report.rows import COLUMNS
from qinsight_cli.core.tasks import TASKS

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Files, folders, quoted globs, or - for a list on stdin.")
]


def score(
    paths: Paths,
    limit: options.Limit = None,
    csv: options.Csv = None,
    jsonl: options.Jsonl = None,
    show_reasoning: options.ShowReasoning = False,
    restart: options.Restart = False,
    model: options.ModelName = "tiny",
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = 8,
    max_pixels: options.MaxPixels = None,
    max_new_tokens: options.MaxNewTokens = None,
    samples: options.Samples = None,
    temperature: options.Temperature = None,
    preset: options.PresetOption = None,
    seed: options.Seed = 0,
    prompt: options.Prompt = None,
) -> None:
    """Rate pictures from 1 (bad) to 5 (excellent), with the reasoning.

    Interrupted and run again with the same output file, it finishes what is left.
    """
    decoding = options.decoding_of(preset, max_new_tokens, samples, temperature)
    run = judging.JudgingOptions(
        *(csv, jsonl, show_reasoning, restart, model, device, dtype.value),
        *(batch_size, max_pixels, decoding, seed, prompt),
    )
    items = [{"image": path} for path in find_images(paths, getattr(sys.stdin, "buffer", None), limit)]
    judging.exit_code(judging.judge(TASKS["score"], items, run, COLUMNS["score"]))
