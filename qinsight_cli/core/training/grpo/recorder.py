"""The trainer of a run: it writes records, evaluates, keeps the best model, and writes the last one.

Imports torch and trl: import this module only when a model is in use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object, is_peft_model
from transformers import PrinterCallback, TrainerCallback

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.files import write_text
from qinsight_cli.core.models.loading import Model
from qinsight_cli.core.tasks import reward_titles
from qinsight_cli.core.training.final_model import write_model
from qinsight_cli.core.training.grpo import curves
from qinsight_cli.core.training.grpo.evaluate import outcomes, summary
from qinsight_cli.core.training.grpo.model_card import model_card
from qinsight_cli.core.training.grpo.trainer import OWN_LOOP, MultiTaskTrainer
from qinsight_cli.core.training.grpo.unearned import UnearnedRewards
from qinsight_cli.core.training.run_folder import RunFolder, metrics_line, read_lines, whole_folder
from qinsight_cli.core.training.runs import time_left
from qinsight_cli.core.training.watch import Watch

# The rows of the table on the terminal below the rewards.
ROWS = {
    "kl": "KL",
    "completion_length": "tokens",
    "truncated": "cut off",
    "frac_reward_zero_std": "zero variance",
    "loss": "loss",
    "grad_norm": "gradient norm",
}


class RecordingTrainer(MultiTaskTrainer):
    """MultiTaskTrainer that writes a `RunFolder`. With the weights it saves `final_processor` and the other files of
    `model_folder`, the model that training started from."""

    def __init__(
        self, training_run: Any, folder: RunFolder, final_processor: Any, model_folder: Path, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._model_folder = model_folder
        if is_peft_model(self.model):  # checkpoints name their base as the recipe does, not by a folder of this machine
            self.model.peft_config["default"].base_model_name_or_path = training_run.recipe.model
        self._training_run, self._folder, self._final_processor = training_run, folder, final_processor
        self._engine = LocalEngine(Model(self._network, final_processor, {"model": training_run.recipe.model}))
        rows = {"reward": "reward", **reward_titles(), **ROWS}
        self.watch = Watch(rows, folder.path.name)
        self.remove_callback(PrinterCallback)  # it prints to stdout
        self.add_callback(_RecordingCallback(self))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL would write one into the run folder; `final` has its own."""

    # Records

    def continue_records(self) -> None:
        """Continue the counts of unearned rewards and the curves on the terminal, from the metrics so far."""
        lines = read_lines(self._folder.metrics)
        self._unearned = UnearnedRewards(self.reward_func_names, lines)
        self.watch.recall(lines)

    def record(self, logs: Mapping[str, Any]) -> None:
        """One logged step: a line of metrics, one group of completions, a line of progress."""
        step = self.state.global_step
        if "reward" not in logs:
            return
        line = metrics_line(step, logs)
        self._folder.append(self._folder.metrics, [line])
        self._folder.append(self._folder.completions, self._sampled(step))
        shown = [
            f"{name} {line[name]:.4f}" for name in ("reward", *reward_titles(), "kl") if line.get(name) is not None
        ]
        shown += [f"zero variance {line['frac_reward_zero_std']:.2f}", f"{line['seconds']:.1f} s"]
        if line.get("completion_length") is not None:
            shown.append(f"{line['completion_length']:.0f} tokens")
        steps = self.state.max_steps
        words = f"step {step:,}/{steps:,}  {'  '.join(shown)}"
        self.watch.step(step, steps, line, time_left(line, step, steps), words)
        for warning in self._unearned.note(line):
            print(warning, file=sys.stderr)

    def _sampled(self, step: int) -> list[dict[str, Any]]:
        """One group of the last batch, another one at each step."""
        texts = [completion[0]["content"] for completion in self._logs["completion"]]
        rows = range(0, len(texts), self.num_generations)[step % max(1, len(texts) // self.num_generations) :][:1]
        extra, rewards = self._logs["extra"], self._logs["rewards"]
        return [
            {
                "step": step,
                **{column: extra[column][row] for column in ("id", "task", "truth")},
                "completion": texts[row],
                "rewards": {name: values[row] for name, values in rewards.items() if values[row] == values[row]},
                "advantage": round(self._logs["advantages"][row], 6),
            }
            for first in rows
            for row in range(first, first + self.num_generations)
        ]

    def draw(self) -> None:
        curves.draw_curves(read_lines(self._folder.metrics), self._folder.path)

    # Held-out rows

    def evaluate_held_out(self) -> None:
        """Answer the held-out and the validation rows, divided among the processes. Record the figures of both, and
        keep the model that is best on the validation rows; the held-out rows select nothing."""
        held_out = self._figures(self._training_run.evaluation_rows)
        validation = self._figures(self._training_run.validation_rows)
        if not self.is_world_process_zero():
            return
        step = self.state.global_step
        line = {"step": step, "eval": held_out} | ({"validation": validation} if validation else {})
        self._folder.append(self._folder.metrics, [line])
        for name, figures in (("held out", held_out), ("validation", validation)):
            shown = "  ".join(f"{figure} {value:.4f}" for figure, value in figures.items() if figure != "rows")
            if figures:
                print(f"{name} at step {step:,}  {shown}", file=sys.stderr)
        lines = [line for line in read_lines(self._folder.metrics) if "validation" in line]
        before = [line["validation"]["reward"] for line in lines if 0 < line["step"] < step]
        if step and validation and validation["reward"] > max(before, default=-1.0):
            self._write_model(self._folder.path / "best", f"The weights of update {step}, best on the validation rows.")

    def _figures(self, rows: Sequence[Sample]) -> dict[str, float]:
        """The results of greedy answers to the rows; empty without rows."""
        if not rows:
            return {}
        recipe, tasks = self._training_run.recipe, self._training_run.tasks
        share = rows[self.accelerator.process_index :: self.accelerator.num_processes]
        self.model.eval()
        with self.accelerator.autocast():
            found = outcomes(self._engine, share, tasks, recipe.max_completion_tokens)
        self.model.train()
        return summary(gather_object(found), tasks, recipe.weights)

    # Weights

    def finish(self) -> Path:
        """Write `final`, draw the curves, and return the folder of the model."""
        final = self._folder.path / "final"
        gathered = None
        if self.accelerator.distributed_type not in OWN_LOOP:
            gathered = self.accelerator.get_state_dict(self.model_wrapped)  # the shards of all processes
        if self.is_world_process_zero():
            self.draw()
            self._write_model(final, "The weights after the last update.", gathered)
        self.accelerator.wait_for_everyone()
        return final

    def _write_model(self, target: Path, what: str, gathered: Mapping[str, torch.Tensor] | None = None) -> None:
        """Weights in the recipe's final dtype, an adapter merged into a copy of them, with processor and card."""
        recipe = self._training_run.recipe
        weights = self._merged() if gathered is None else gathered.items()
        with whole_folder(target) as temporary:
            write_model(
                temporary, self._network, weights, recipe.final_dtype, self._final_processor, self._model_folder
            )
            lines = read_lines(self._folder.metrics)
            card = model_card(recipe, self._training_run.data, lines, self.state.global_step, what)
            write_text(temporary / "README.md", card)

    def _merged(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights by the names of the plain network, with an adapter merged. They come one at a time, so that a
        merge needs no memory for a second model."""
        network = self.accelerator.unwrap_model(self.model)
        if not is_peft_model(network):
            yield from network.state_dict().items()
            return
        layers = dict(network.get_base_model().named_modules())
        for name, value in network.get_base_model().state_dict().items():
            if ".lora_" in name:
                continue
            owner = name.partition(".base_layer.")[0]
            if ".base_layer.weight" in name:
                value = value.float() + layers[owner].get_delta_weight("default").float()
            yield name.replace(".base_layer", ""), value


class _RecordingCallback(TrainerCallback):
    """Calls the trainer at the right moments."""

    def __init__(self, trainer: RecordingTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.continue_records()
        if state.global_step == 0 and self._trainer._training_run.held_out:
            self._trainer.evaluate_held_out()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = (
            state.global_step % self._trainer._training_run.recipe.eval_every == 0
            or state.global_step == state.max_steps
        )
        if due and self._trainer._training_run.held_out:
            self._trainer.evaluate_held_out()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if state.is_world_process_zero:
            self._trainer.record(logs)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._trainer.draw()
