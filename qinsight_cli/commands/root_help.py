"""The page of `qinsight --help`, which does not import the commands, because that takes longest."""

from __future__ import annotations

import os
from collections.abc import Sequence

from qinsight_cli.commands.examples import examples
from qinsight_cli.commands.help_page import Entry, Page, Section

WORDS = "Judge pictures: rate their quality, name their degradation, compare them, and say why."
USAGE = "qinsight [OPTIONS] COMMAND ..."
# Command -> the first sentence of its help. A test compares them.
COMMANDS = {
    "score": "Rate pictures from 1 (bad) to 5 (excellent), with the reasoning.",
    "degrade": "Name the distortion of pictures (noise, blur, compression, darken or none) and its severity.",
    "compare": "Say which of two pictures is better: Image A, Image B, or Similar.",
    "explain": "Show the reasoning of several models about the same pictures side by side.",
    "serve": "Show a page in the browser on which to drop pictures and see them rated and compared.",
    "prepare": "Turn a dataset, or a folder of photos, into a manifest for train and bench.",
    "train": "Train a model on prepared datasets by a recipe: GRPO from rewards, or SFT from written answers.",
    "bench": "Print the paper's tables with figures measured here next to the published ones.",
    "cache": "Show the answer cache: where it is, and how much it holds.",
    "doctor": "Show versions, devices, memory, models, datasets, extras and known problems, and how to fix them.",
}
OPTIONS = {
    "--version": "Show the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "-h, --help": "Show this message and exit.",
}
COMPLETING = "_QINSIGHT_COMPLETE"  # set by a shell that completes a command line


def is_requested(arguments: Sequence[str]) -> bool:
    """Whether a command line is empty or asks for the help of qinsight itself."""
    return COMPLETING not in os.environ and (not arguments or arguments[0] in ("-h", "--help"))


def page() -> Page:
    """The help page of qinsight itself."""
    sections = (("Options", OPTIONS), ("Commands", COMMANDS))
    return Page(
        USAGE,
        (WORDS,),
        tuple(
            Section(title, tuple(Entry(name, "", words) for name, words in each.items())) for title, each in sections
        ),
        examples(""),
    )
