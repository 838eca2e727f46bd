"""The score regression task: a rating in [1, 5], higher is better."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import (
    IMAGE,
    ParseFailure,
    Task,
    completion_of,
    format_reward,
    known_part,
    read_answer,
    text,
)
from qinsight_cli.core.tasks.choices import Choices
from qinsight_cli.core.tasks.verdict import rating_verdict

# Table A, "Prompt for Score Regression Task", word for word.
PROMPT = (
    "What is your overall rating on the quality of this picture? The rating should be a float between 1 and 5, "
    "rounded to two decimal places, with 1 representing very poor quality and 5 representing excellent quality. "
    'Return the final answer in JSON format with the following keys: "rating": The score.'
)
LOWEST, HIGHEST = 1.0, 5.0
EPSILON = 0.35  # Sec. 4.1

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Score:
    """A rating in [1, 5], higher is better; as the partial answer of a failure it may lie outside."""

    rating: float
    reasoning: str = ""


def parse(completion: str) -> Score | ParseFailure:
    """Completion -> Score, or why it could not be read."""
    parts = read_answer(completion, "rating")
    if isinstance(parts, ParseFailure):
        return parts
    reasoning, found = parts
    value = found["rating"]
    if value is None or not _NUMBER.fullmatch(value):
        return ParseFailure("not_a_number", f"the rating is {value!r}")
    rating = float(value)
    if not LOWEST <= rating <= HIGHEST:
        partial = Score(rating, reasoning) if math.isfinite(rating) else None
        return ParseFailure("out_of_range", f"the rating {value} is not between 1 and 5", partial)
    return Score(rating, reasoning)


def rewards(completion: str, answer: Score | ParseFailure, truth: Score, epsilon: float = EPSILON) -> dict[str, float]:
    """r_fmt, and r_scr of Eq. 3: 1.0 when the rating lies strictly within `epsilon` of the truth.

    Eq. 3 has no range: 5.2 is near 5.0. With `epsilon` 0 the rating must equal the truth, exactly or rounded to the two
    decimals of the prompt.
    """
    said = known_part(answer)
    hit = said is not None and _near(said.rating, truth.rating, epsilon)
    return {"r_fmt": format_reward(completion), "r_scr": float(hit)}


def _near(rating: float, truth: float, epsilon: float) -> bool:
    if epsilon == 0:
        return rating in (truth, round(truth, 2))
    # Rounded, or 4.35 - 4.0 = 0.34999999999999964 would count as less than 0.35.
    return round(abs(rating - truth), 9) < epsilon


def truth_of(row: Mapping[str, Any]) -> Score:
    rating = row.get("rating")
    if not isinstance(rating, int | float) or isinstance(rating, bool) or not LOWEST <= rating <= HIGHEST:
        raise QInsightError(f'"rating" is {rating!r}; a score row needs a number in [1, 5]')
    return Score(float(rating))


def read(row: Mapping[str, str]) -> dict[str, float] | ParseFailure:
    """A row of a table -> the rating, on any scale."""
    try:
        value = float(row["rating"])
    except ValueError:
        value = math.nan
    if math.isnan(value):
        return ParseFailure("not_a_number", f"the rating is {row['rating']!r}, not a number")
    return {"rating": value}


# Ratings with one decimal, which may be the start of one with two; and whole numbers at the end of the answer.
_TENTHS = {f"{tenths / 10:.1f}": Score(tenths / 10) for tenths in range(10, 51)}
_WHOLE = {f"{whole}{end}": Score(float(whole)) for whole in range(1, 6) for end in ("}", '"', " ", "\n")}
_PLACE = re.compile(r"""<answer>.*?["']?\brating["']?\s*:\s*["']?(?=[\d.+-])""", re.DOTALL | re.IGNORECASE)


def place(completion: str) -> int | None:
    """The index at which the number of the rating begins, None without a number."""
    found = _PLACE.search(completion)
    return found.end() if found else None


def summarize(shares: Mapping[Score, float]) -> dict[str, float]:
    """The mean and the standard deviation of the ratings under their probabilities, which sum to 1."""
    mean = sum(score.rating * share for score, share in shares.items())
    variance = sum((score.rating - mean) ** 2 * share for score, share in shares.items())
    return {"rating": min(HIGHEST, max(LOWEST, mean)), "rating_std": math.sqrt(variance)}


CHOICES = Choices(
    opening=completion_of("", '{"rating": ').removesuffix(" </answer>"),
    answers=_TENTHS | _WHOLE,
    summarize=summarize,
    place=place,
)

TASK = Task(
    name="score",
    heading="Rating",
    roles=("image",),
    content=lambda roles: [IMAGE, text(PROMPT)],
    parse=parse,
    rewards=rewards,
    weights={"r_fmt": 1.0, "r_scr": 1.0},
    titles={"r_fmt": "format", "r_scr": "score"},
    failures=("not_a_number", "out_of_range"),
    truth=truth_of,
    answer=lambda truth: f'{{"rating": {truth.rating:.2f}}}',
    fields=lambda answer: {"rating": answer.rating},
    columns=("rating",),
    number="rating",
    read=read,
    spans={"rating": re.compile(r'(?<="rating": )[\d.]+')},
    digits=re.compile(r'(?<="rating": )(\d)\.(\d)'),
    protocol="qinsight_cli.core.bench.protocols.score",
    choices=CHOICES,
    verdict=lambda fields, reasoning: rating_verdict(fields.get("rating"), reasoning),
    badness=lambda fields: -float(fields["rating"]),
)
