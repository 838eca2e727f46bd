"""The stop of a run at the first loss, gradient norm or weight that is not finite, for GRPO and SFT alike.

Imports torch and transformers: import this module only when a model is in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import write_text
from qinsight_cli.core.training.run_folder import WHOLE, last_checkpoint

NAMED_ROWS = 4  # in a message


class FiniteSteps:
    """Mixin for a subclass of transformers' Trainer, first among its bases. Marks each checkpoint once it is complete.

    A checkpoint is only written from finite weights, so the last one is good.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.add_callback(_Watch(self))  # type: ignore[attr-defined]

    # The ids of the rows of the current step, for the message; each trainer has its own method of this name.
    rows_of_step: Callable[[], Sequence[str]]

    def training_step(self, *arguments: Any, **settings: Any) -> Any:
        loss = super().training_step(*arguments, **settings)  # type: ignore[misc]
        if not torch.isfinite(loss).all():
            raise self.stopped(f"the loss is {loss.item():g}")
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[misc]
        if norm is not None and not math.isfinite(norm):
            raise self.stopped(f"the gradient norm is {float(norm):g}")
        return norm

    def stopped(self, why: str) -> QInsightError:
        """The error that ends the run: the step, the reason, its rows, and how to continue."""
        rows = list(dict.fromkeys(self.rows_of_step()))
        named = ", ".join(rows[:NAMED_ROWS])
        named += f" and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else ""
        folder = Path(self.args.output_dir)  # type: ignore[attr-defined]
        step = self.state.global_step + 1  # type: ignore[attr-defined]
        checkpoint = last_checkpoint(folder) if self.is_world_process_zero() else None  # type: ignore[attr-defined]
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written before"
        return QInsightError(f"{folder}, step {step}: {why}; rows {named}; {kept}")


class _Watch(TrainerCallback):
    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        name = first_not_finite(self._trainer.model)
        if name is not None:
            state.global_step -= 1  # the step that caused it
            raise self._trainer.stopped(f"the weight {name} is not finite")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            write_text(Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE, "")


def first_not_finite(network: Any) -> str | None:
    """The name of the first weight with NaN or infinity, if any."""
    # ZeRO-3 replaces a weight by an empty tensor and keeps its shard beside it.
    weights = {name: getattr(value, "ds_tensor", value).detach() for name, value in network.named_parameters()}
    held = [value for value in weights.values() if value.numel()]
    with torch.no_grad():
        largest = torch.nn.utils.get_total_norm(held, norm_type=math.inf)
        if math.isfinite(float(largest)):
            return None
        return next(name for name, value in weights.items() if not torch.isfinite(value).all())


def check_weights(network: Any, model: str) -> None:
    """Raises QInsightError if the model to start from has weights that are not finite."""
    name = first_not_finite(network)
    if name is not None:
        raise QInsightError(f"the model {model} cannot be trained: its weight {name} holds numbers that are not finite")
