"""The comparison task: which of two pictures is better, with or without a reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import (
    ParseFailure,
    Task,
    completion_of,
    format_reward,
    known_part,
    shorten,
    split_completion,
    with_images,
)
from qinsight_cli.core.tasks.choices import Choices

# Table A, "Prompt for Reference-Based Comparison Reasoning", word for word, split at the images.
REFERENCE_PROMPT = (
    "Given a low-quality reference image and two enhanced outputs. Reference Image: ",
    ", Image A: ",
    " and Image B: ",
    ". Decide which enhanced image is superior or if they are comparable. Evaluate based on: 1) fidelity and "
    "consistency with the reference image; 2) overall perceptual quality. Return exactly one of: "
    '"Image A", "Image B", or "Similar".',
)
# Table A, "Prompt for Non-Reference-Based Image Comparison", word for word, split at the images.
NO_REFERENCE_PROMPT = (
    "Given Image A: ",
    " and ",
    ", assess the visual quality of both the Image A and the Image B, explain and justify which one is better "
    'considering composition and degradation. Your answer should be "Image A" or "Image B".',
)
# The authors' code (demo_comparison.py and its training), split at the images. It has no question without a
# reference.
AUTHORS_PROMPT = (
    "Given a low-quality reference image and two enhanced outputs. Reference Image:",
    "Image A:",
    "Image B:",
    "Decide which enhanced image is superior or if they are comparable. Evaluate based on: 1) fidelity and "
    "consistency with the reference image; 2) overall perceptual quality. "
    "Return **exactly one** of: Image A, Image B, or Similar.",
)
WINNERS = ("Image A", "Image B", "Similar")
MIRRORED = {"Image A": "Image B", "Image B": "Image A", "Similar": "Similar"}  # the winner of the swapped pair

_DECORATION = " \"'*`“”"
_BY_LOWER = {winner.lower(): winner for winner in WINNERS}


@dataclass(frozen=True)
class Comparison:
    """The winner, one of `WINNERS`."""

    winner: str
    reasoning: str = ""


def content(roles: tuple[str, ...]) -> list[dict[str, str]]:
    return with_images(REFERENCE_PROMPT if "reference" in roles else NO_REFERENCE_PROMPT)


def authors_content(roles: tuple[str, ...]) -> list[dict[str, str]]:
    return with_images(AUTHORS_PROMPT) if "reference" in roles else content(roles)


def parse(completion: str) -> Comparison | ParseFailure:
    """Completion -> Comparison, or why it could not be read. Quotes, asterisks and a final full stop are ignored."""
    parts = split_completion(completion)
    if isinstance(parts, ParseFailure):
        return parts
    reasoning, answer = parts
    words = " ".join(answer.split()).lower()
    winner = _BY_LOWER.get(words.lstrip(_DECORATION).rstrip(_DECORATION + "."))
    if winner is None:
        return ParseFailure("unknown_winner", f"the answer is {shorten(answer)}, not Image A, Image B or Similar")
    return Comparison(winner, reasoning)


def rewards(completion: str, answer: Comparison | ParseFailure, truth: Comparison) -> dict[str, float]:
    """r_fmt, for the tags alone since the answer is a bare phrase, and r_comp of Eq. 7."""
    said = known_part(answer)
    hit = said is not None and said.winner == truth.winner
    return {"r_fmt": format_reward(completion, json_like=False), "r_comp": float(hit)}


def truth_of(row: Mapping[str, Any]) -> Comparison:
    if row.get("winner") not in WINNERS:
        raise QInsightError(f'"winner" is {row.get("winner")!r}; it must be one of {", ".join(WINNERS)}')
    return Comparison(row["winner"])


def read(row: Mapping[str, str]) -> dict[str, str] | ParseFailure:
    """A row of a table -> the winner."""
    winner = _BY_LOWER.get(row["winner"].lower())
    if winner is None:
        return ParseFailure("unknown_winner", f"the winner is {row['winner']!r}, not one of {', '.join(WINNERS)}")
    return {"winner": winner}


def rated(first: float, second: float) -> dict[str, str]:
    """The winner of two ratings on one scale, higher better."""
    return {"winner": "Similar" if first == second else "Image A" if first > second else "Image B"}


def summarize(shares: Mapping[Comparison, float]) -> dict[str, Any]:
    """The likeliest winner with its probability."""
    likeliest = max(shares, key=lambda answer: shares[answer])
    return {"winner": likeliest.winner, "probability": shares[likeliest]}


CHOICES = Choices(
    opening=completion_of("", "").removesuffix(" </answer>"),
    answers={winner: Comparison(winner) for winner in WINNERS},
    summarize=summarize,
    columns=("probability",),
)

TASK = Task(
    name="comparison",
    heading="Comparison",
    roles=("image_a", "image_b"),
    optional=("reference",),
    content=content,
    parse=parse,
    rewards=rewards,
    weights={"r_fmt": 1.0, "r_comp": 1.0},  # Eq. 8
    truth=truth_of,
    answer=lambda truth: truth.winner,
    fields=lambda answer: {"winner": answer.winner},
    columns=("winner",),
    titles={"r_fmt": "format", "r_comp": "comparison"},
    failures=("unknown_winner",),
    read=read,
    swapped=lambda fields: {"winner": MIRRORED[fields["winner"]]},
    rated=rated,
    spans={"winner": re.compile(r"(?<=<answer> )(?:Image A|Image B|Similar)")},
    colours={"Similar": "yellow"},
    protocol="qinsight_cli.core.bench.protocols.comparison",
    choices=CHOICES,
    authors=authors_content,
    folder="comparison",
)
