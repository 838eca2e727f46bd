"""The trainers of the two kinds of phases: "see" and "talk". Batches come as planned, and each step is recorded.

Private methods of the libraries that are overridden here, read in transformers 5.23 and TRL 1.16;
`tests/core/training/test_overrides.py` fails if one is gone or has other parameters:

_get_train_sampler     the plan is the order; Trainer would shuffle it
_load_from_checkpoint  Trainer does not find the names of a vision-language checkpoint and would load nothing
_get_grad_norm         in `FiniteSteps`, to stop before the optimizer takes a step that is not finite

Imports torch, transformers and trl: import this module only when a model is in use.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from torch.nn import functional
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import SFTTrainer

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import first_line
from qinsight_cli.core.training.final_model import load_checkpoint
from qinsight_cli.core.training.finite import FiniteSteps
from qinsight_cli.core.training.run_folder import RunFolder
from qinsight_cli.core.training.runs import time_left
from qinsight_cli.core.training.sft.recipe import Phase
from qinsight_cli.core.training.watch import Watch

HEADS = "seeing_heads.safetensors"
SHOWN = {"loss": "loss", "grad_norm": "gradient norm", "learning_rate": "learning rate"}


class PlannedSteps(FiniteSteps):
    """One item of the training set is one planned batch: `rows`, indices into `samples`, and a seed."""

    def __init__(self, *arguments: Any, samples: Sequence[Sample], recorder: Recorder, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._samples, self.recorder = samples, recorder
        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]  # it prints to stdout
        self.add_callback(recorder)  # type: ignore[attr-defined]

    def rows_of_step(self) -> list[str]:
        parts = self.args.gradient_accumulation_steps * self.args.world_size  # type: ignore[attr-defined]
        first = self.state.global_step * parts  # type: ignore[attr-defined]
        batches = self.train_dataset[first : first + parts]["rows"]  # type: ignore[attr-defined]
        return [self._samples[index].id for batch in batches for index in batch]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[attr-defined]


class SeeingTrainer(PlannedSteps, Trainer):
    """Trainer of a `SeeingTower`."""


class TalkingTrainer(PlannedSteps, SFTTrainer):
    """TRL's SFTTrainer with a loss weight for each token, and digits of a rating learned as a distribution."""

    def compute_loss(self, model: Any, inputs: dict, return_outputs: bool = False, **_: Any) -> Any:
        weights = inputs.pop("weights")
        soft = {name: inputs.pop(name, None) for name in ("digit_places", "digit_targets", "digit_ids")}
        longest = int((weights > 0).sum(1).max())
        # Completions end the row, so only their logits are computed; the last one predicts beyond the end.
        logits = model(**inputs, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
        targets, weights = inputs["input_ids"][:, -longest:], weights[:, -longest:]
        losses = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        losses = losses.view(targets.shape)
        if soft["digit_places"] is not None and len(soft["digit_places"]):
            losses = soft_digit_losses(losses, logits, soft, inputs["input_ids"].shape[1] - longest)
        loss = (losses * weights).sum() / weights.sum()
        return (loss, logits) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        network = self.accelerator.unwrap_model(model if model is not None else self.model)
        if is_peft_model(network):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_checkpoint(network, resume_from_checkpoint)


def soft_digit_losses(losses: Tensor, logits: Tensor, soft: dict[str, Tensor], before: int) -> Tensor:
    """The losses (rows, tokens), at the digits of ratings replaced by the cross-entropy with a distribution.

    `before` is the number of columns of the whole rows before the first column of `logits`.
    """
    rows, columns = soft["digit_places"].T
    columns = columns - before
    digits = logits[rows, columns].float().log_softmax(-1)[:, soft["digit_ids"]]
    return losses.index_put((rows, columns), -(digits * soft["digit_targets"]).sum(-1))


class Recorder(TrainerCallback):
    """A line of metrics.jsonl each logged step, and one line of progress. `before` counts the steps of the
    phases before this one: steps are those of the run."""

    def __init__(self, folder: RunFolder, phase: Phase, before: int) -> None:
        self._folder, self._phase, self._before = folder, phase, before
        self.watch = Watch(SHOWN, phase.name)
        self._mark = (0.0, 0)  # time and step of the last log

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark = (time.perf_counter(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        line = {"step": self._before + state.global_step, "phase": self._phase.name, **logs}
        self._folder.append(self._folder.metrics, [line])
        step, steps = state.global_step, state.max_steps
        now, (then, before) = time.perf_counter(), self._mark
        pace = {"seconds": (now - then) / (step - before)} if step > before else {}
        self._mark = (now, step)
        shown = "  ".join(f"{name} {logs[name]:.4g}" for name in SHOWN if name in logs)
        words = f"{self._phase.name}, step {step:,}/{steps:,}  {shown}"
        self.watch.step(step, steps, logs, time_left(pace, step, steps), words)


def load_heads(seeing: Any, path: Path) -> None:
    """Load the heads of an earlier "see" phase. Raises QInsightError for an incomplete file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    own = {name for name in seeing.state_dict() if "heads" in name}
    try:
        heads = load_file(path)
        if heads.keys() != own:
            raise QInsightError(f"{path} cannot be read: it does not hold the heads of this model")
        seeing.load_state_dict(heads, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise QInsightError(f"{path} cannot be read: {first_line(error)}") from error


def save_heads(seeing: Any, path: Path) -> None:
    from safetensors.torch import save_file

    heads = {name: value.cpu().contiguous() for name, value in seeing.state_dict().items() if "heads" in name}
    temporary = path.with_name(path.name + ".part")
    save_file(heads, temporary)
    temporary.replace(path)


def make_optimizer(model: Any, tower: Any, phase: Phase) -> torch.optim.Optimizer:
    """AdamW with a separate learning rate for the vision module; of a convolutional one, for its trunk."""
    seeing = {id(parameter) for parameter in getattr(tower, "trunk", tower).parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        ([each for each in trained if id(each) not in seeing], phase.learning_rate),
        ([each for each in trained if id(each) in seeing], phase.vision_learning_rate or phase.learning_rate),
    ]
    return torch.optim.AdamW(
        [{"params": members, "lr": rate} for members, rate in groups if members], betas=(0.9, 0.98), weight_decay=0.01
    )
