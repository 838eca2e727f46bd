"""Small GRPO trainers for tests of the trainer and its rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer

BETA, CLIP = 0.05, 0.05

Build = Callable[..., MultiTaskTrainer]


def words(completions: list[Any], **_: Any) -> list[float]:
    """A reward that differs from completion to completion, whatever a network writes."""
    return [float(len(completion[0]["content"]) % 7) for completion in completions]


def batch_of(trainer: MultiTaskTrainer) -> dict[str, Any]:
    """Completions of every row, with their log-probabilities under the policy as it is."""
    trainer.model.train()
    rows = [row for row in trainer.train_dataset for _ in range(4)]
    return trainer._generate_and_score_completions(rows)
