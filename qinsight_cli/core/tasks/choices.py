"""The answers that a task allows, as texts whose probabilities can be read off a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_MASS = 0.5  # probability of all answers together below which a distribution is not used
NOTED_MASS = 0.9  # below this, the result gets a note


@dataclass(frozen=True, eq=False)
class Choices:
    """The answers of a task, and their place in a completion.

    opening    the start of a completion without reasoning, up to where the answers differ
    answers    the text that follows there -> the answer. No text is the start of another; several may mean the same
    summarize  {answer: probability}, summing to 1 -> {column: value}: the fields of the answer that follows from the
               whole distribution, and numbers about it
    columns    further columns of a row: the numbers of `summarize` that are no field of the answer
    place      completion -> the index at which such a text begins, None if there is none; without `place`, reasoned
               answers are read from their text
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
