"""The paper's rewards as one reward function for any training with TRL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.score import EPSILON
from qinsight_cli.core.tasks.score import TASK as SCORE


class TaskReward:
    """The overall reward of a task, Eq. 6 and 8, as one of TRL's `reward_funcs`.

        GRPOTrainer(..., reward_funcs=TaskReward("score"))

    It reads the true answer from columns of the training set: `rating` for score, `distortion` and `severity` for
    degradation, `winner` for comparison. A row with None in one of them belongs to another task and gets None.

    task     "score", "degradation" or "comparison"
    epsilon  the largest error of a rewarded rating, Eq. 3
    weights  reward name -> its weight, to replace the paper's
    """

    def __init__(
        self, task: str = SCORE.name, epsilon: float = EPSILON, weights: Mapping[str, float] | None = None
    ) -> None:
        if task not in TASKS:
            raise QInsightError(f"no task {task!r}; there are {', '.join(TASKS)}")
        self._task = TASKS[task]
        unknown = set(weights or {}) - set(self._task.weights)
        if unknown:
            raise QInsightError(f"{task} has no reward {min(unknown)}; it has {', '.join(self._task.weights)}")
        self._weights = {**self._task.weights, **(weights or {})}
        rewards: Any = self._task.rewards
        self._rewards = partial(rewards, epsilon=epsilon) if self._task is SCORE else rewards
        self.__name__ = f"qinsight_{task}"  # TRL names its metrics by it

    def __call__(self, *, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Completions, as text or as conversations, and the columns of their rows -> their rewards."""
        missing = [name for name in self._task.columns if name not in columns]
        if missing:
            raise QInsightError(f"the training set has no column {missing[0]}, which the reward reads")
        rows = zip(*(columns[name] for name in self._task.columns), strict=True)
        return [
            None if None in row else self._one(_text(completion), dict(zip(self._task.columns, row, strict=True)))
            for completion, row in zip(completions, rows, strict=True)
        ]

    def _one(self, completion: str, truth: Mapping[str, Any]) -> float:
        earned = self._rewards(completion, self._task.parse(completion), self._task.truth(truth))
        return sum(self._weights[name] * value for name, value in earned.items())


def _text(completion: Any) -> str:
    """The text of a completion. TRL passes it as text, or as a conversation with the model's message last."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
