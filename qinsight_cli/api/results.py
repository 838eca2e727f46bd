"""The answers of the Python API: one typed answer for each question, and lists of them that convert to tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.aggregate import aggregate
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.tasks import Task

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The fields of all answers.

    verdict    one line: what the model saw, and how bad it is
    reasoning  what the model wrote before its answer
    error      why there is no answer; None if there is one
    """

    verdict: str | None = None
    reasoning: str = ""
    error: str | None = None

    def checked(self) -> Any:
        """This answer. Raises QInsightError with its `error`, if it has one."""
        if self.error is not None:
            raise QInsightError(self.error)
        return self


@dataclass(frozen=True, kw_only=True)
class Score(Answer):
    """A rating in [1, 5], higher better; None with an `error`.

    rating_std  standard deviation of the distribution, or of the samples, whose mean the rating is
    samples     how many samples were readable
    """

    path: str
    rating: float | None = None
    rating_std: float | None = None
    samples: int = 0


@dataclass(frozen=True, kw_only=True)
class Degradation(Answer):
    """The distortion of a picture (noise, blur, compression, darken, none) and its severity (slight, moderate, obvious,
    serious, catastrophic, none)."""

    path: str
    distortion: str | None = None
    severity: str | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Answer):
    """Which of two pictures is better: `winner` is "Image A", "Image B" or "Similar"."""

    image_a: str
    image_b: str
    reference: str | None = None
    winner: str | None = None


A = TypeVar("A", bound=Answer)


class Results(list[A], Generic[A]):
    """The answers, in the order of the pictures."""

    @property
    def errors(self) -> Results[A]:
        """The answers with an error."""
        return Results(answer for answer in self if answer.error is not None)

    def to_pandas(self) -> pandas.DataFrame:
        """A table with a row for each answer and a column for each field."""
        import pandas

        return pandas.DataFrame([asdict(answer) for answer in self])


def answers_of(kind: type[A], task: Task, results: Iterable[Result]) -> Results[A]:
    """Results of `assess` -> answers of one kind, whose fields have the names of the task's columns."""
    found: Results[A] = Results()
    for result in results:
        aggregated = aggregate(task, result)
        fields: dict[str, Any] = {column: result.images.get(role) for column, role in task.image_columns.items()}
        fields |= {role: result.images[role] for role in task.optional if role in result.images}
        fields |= task.written(aggregated.fields)
        if task.number:
            fields |= {f"{task.number}_std": aggregated.std, "samples": aggregated.parsed}
        verdict = task.verdict(aggregated.fields, aggregated.reasoning) if aggregated.error is None else None
        fields |= {"verdict": verdict, "reasoning": aggregated.reasoning, "error": aggregated.error}
        found.append(kind(**fields))
    return found
