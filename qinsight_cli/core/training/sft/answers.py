"""The answers that a "talk" phase teaches: their text, the weight of each token, and ratings as distributions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.reasoning import damage_sentence, zones
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS, spans
from qinsight_cli.core.tasks.base import completion_of
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

IGNORED = -100  # the label that torch's cross-entropy skips


def with_image_tokens(prompt: str, token: str, counts: Sequence[int]) -> str:
    """The prompt with as many image tokens for each picture as the vision module gives, as the processor writes it."""
    first, *rest = prompt.split(token)
    return first + "".join(token * count + part for count, part in zip(counts, rest, strict=True))


def draw_rating(rating: float, spread: float, rng: np.random.Generator) -> tuple[float, tuple[Any, Any]]:
    """A rating of one decimal drawn from a Gaussian around `rating` on the grid 1.0, 1.1, ... 5.0, with the
    probabilities (10,) of its first digit, and (10,) of its decimal given that digit."""
    grid = np.arange(10, 51)
    chances = np.exp(-0.5 * ((grid / 10 - rating) / spread) ** 2)
    chances /= chances.sum()
    drawn = int(rng.choice(grid, p=chances))
    first = np.bincount(grid // 10, chances, minlength=10)
    same = grid // 10 == drawn // 10
    decimal = np.bincount(grid[same] % 10, chances[same], minlength=10)
    return drawn / 10, (first, decimal / decimal.sum())


def digit_columns(completion: str, tokenizer: Any, digits: re.Pattern[str]) -> list[int]:
    """The columns, counted from the end, of the tokens of the rating's first digit and first decimal, the groups of
    `digits`.

    Raises QInsightError for a tokenizer without one token per digit.
    """
    offsets = tokenizer(completion, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    found = digits.search(completion)
    starts = {(start, end): index for index, (start, end) in enumerate(offsets)}
    if found is None or found.span(1) not in starts or found.span(2) not in starts:
        raise QInsightError("rating_spread needs a tokenizer that writes each digit of a rating as a token of its own")
    return [starts[found.span(1)] - len(offsets), starts[found.span(2)] - len(offsets)]


def gold_completion(row: Sample, rating: float | None = None) -> str:
    """The target text of the row: its reasoning, if any, and its answer, or the given rating."""
    task = TASKS[row.task]
    answer = row.answer() if rating is None else task.truth({task.number: rating})
    return completion_of(row.reasoning, task.answer(answer))


def stated_zones(reasoning: str) -> list[int]:
    """For each measure the zone that the reasoning of one picture states (`reasoning.zones`), `IGNORED` without one."""
    return [found[0] if found and found[0] >= 0 else IGNORED for found in zones(reasoning).values()]


def names_its_damage(row: Sample) -> bool:
    """Whether the reasoning of a row has the sentence on its damage that `prepare` writes."""
    return (
        "distortion" in row.truth and damage_sentence(row.truth["distortion"], row.truth["severity"]) in row.reasoning
    )


def with_other_damage(row: Sample, rng: np.random.Generator) -> Sample:
    """A row of `names_its_damage` whose reasoning and truth name another class and severity, drawn at random.

    Only the answer of such a row is learned. It teaches that the answer repeats the reasoning: in true rows the picture
    shows the same damage, so the model need not read its reasoning.
    """
    damage = [(kind, level) for kind in DISTORTIONS for level in SEVERITIES] + [(NULL, NULL)]
    distortion, severity = damage[rng.integers(len(damage))]
    true = damage_sentence(row.truth["distortion"], row.truth["severity"])
    reasoning = row.reasoning.replace(true, damage_sentence(distortion, severity))
    return replace(row, reasoning=reasoning, truth={"distortion": distortion, "severity": severity})


def unlearned_opening(weights: list[float], completion: str, tokenizer: Any) -> list[float]:
    """The weights with 0 up to the answer tag.

    `--mode direct` gives that opening to the model: if it were learned, an empty reasoning would become the most likely
    one in reasoned answers too. The reasoning of `with_other_damage` must not be learned either.
    """
    given = completion.index("<answer>") + len("<answer>")
    offsets = tokenizer(completion, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [0.0 if start < given else weight for weight, (start, _) in zip(weights, offsets, strict=True)]


def token_weights(completion: str, tokenizer: Any, weights: Mapping[str, float]) -> list[float]:
    """A loss weight for each token of a completion: 1, or the weight of the span it lies in."""
    offsets = tokenizer(completion, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    values = [1.0] * len(offsets)
    known = spans()
    for name, weight in weights.items():
        if name not in known:
            raise QInsightError(f"token_weights: no span {name!r}; they are {', '.join(known)}")
        for found in known[name].finditer(completion):
            first, last = found.span(found.lastindex or 0)
            for index, (start, end) in enumerate(offsets):
                if start < last and end > first:
                    values[index] = weight
    return values
