"""The answers that a task allows, as texts whose probabilities can be read off a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_MASS = 0.5  # with less of its probability on answers of the task, a distribution says nothing
NOTED_MASS = 0.9  # with less, the result is noted


@dataclass(frozen=True, eq=False)
class Choices:
    """The answers of a task and where they stand in a completion.

    opening    how a completion without reasoning begins, up to where the answers part
    answers    the text with which the answer goes on there -> the answer. No text begins another; several may mean the
               same answer
    summarize  {answer: probability}, summing to 1 -> {column: value} with the fields of the answer that the whole
               distribution says, and numbers about it
    columns    the numbers of `summarize` that are not a field of the answer, as further columns of a row
    place      completion -> where in it such a text begins, None if it has none; without it, reasoned answers are
               read as they are written
    """

    opening: str
    answers: Mapping[str, Any]
    summarize: Callable[[Mapping[Any, float]], dict[str, Any]]
    columns: tuple[str, ...] = ()
    place: Callable[[str], int | None] | None = None

    def summary(self, probabilities: Sequence[float]) -> dict[str, Any]:
        """Probabilities of the texts of `answers`, in order -> what `summarize` makes of them, and their sum, `mass`.

        `mass` alone when it is below `LEAST_MASS`. Floats are rounded to six decimals.
        """
        mass = sum(probabilities)
        found: dict[str, Any] = {"mass": mass}
        if mass >= LEAST_MASS:
            shares = dict.fromkeys(self.answers.values(), 0.0)
            for answer, probability in zip(self.answers.values(), probabilities, strict=True):
                shares[answer] += probability / mass
            found |= self.summarize(shares)
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}
