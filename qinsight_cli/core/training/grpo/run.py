"""Multi-task GRPO by recipe: `run_grpo` trains and writes a model; `describe` says what a run would do."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.engines.local import PICTURE_TOKENS
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import require
from qinsight_cli.core.models.loading import load_network, torch_device, torch_dtype
from qinsight_cli.core.models.names import locate, resolve
from qinsight_cli.core.models.processor import load_processor
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.training import memory
from qinsight_cli.core.training.devices import from_main, is_main, processes, use_one_device
from qinsight_cli.core.training.final_model import keep_hub_names
from qinsight_cli.core.training.grpo import checks, schedule
from qinsight_cli.core.training.grpo.evaluate import choose_rows
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.grpo.rewards import reward_functions, tasks_of, truth_text
from qinsight_cli.core.training.grpo.trl_settings import grpo_arguments
from qinsight_cli.core.training.images import check_images
from qinsight_cli.core.training.lora import lora_config
from qinsight_cli.core.training.reporting import check_tracker
from qinsight_cli.core.training.run_folder import RunFolder, full_disk_in_one_line, settings


@dataclass(frozen=True)
class TrainingRun:
    """The input of a run: the recipe, the training rows and their datasets; `held_out` rows to measure the model, and
    `validation` rows to select the best one."""

    recipe: GrpoRecipe
    samples: Sequence[Sample]
    data: Sequence[Mapping[str, Any]]
    held_out: Sequence[Sample] = field(default_factory=tuple)
    validation: Sequence[Sample] = field(default_factory=tuple)

    @property
    def tasks(self) -> dict[str, Task]:
        return tasks_of(self.recipe)

    @property
    def evaluation_rows(self) -> list[Sample]:
        """The held-out rows of an evaluation."""
        return choose_rows(self.held_out, self.recipe.eval_rows, self.recipe.seed)

    @property
    def validation_rows(self) -> list[Sample]:
        """The validation rows of an evaluation."""
        return choose_rows(self.validation, self.recipe.eval_rows, self.recipe.seed)

    def all_rows(self, scheduled: Sequence[Sample]) -> list[Sample]:
        """The rows of the schedule and of the evaluations: the run opens the pictures of all these."""
        return [*scheduled, *self.evaluation_rows, *self.validation_rows]


def run_grpo(training_run: TrainingRun, out: Path, resume: bool = False) -> Path:
    """Train and return `out`/final, a model folder. `RunFolder` says what else `out` holds.

    Raises QInsightError before the first step for anything in the recipe, the data or the model that cannot work, for
    a folder of another run or one in use, for a full disk, and at the first number that is not finite.
    """
    recipe = training_run.recipe
    _check_installed(recipe)
    chosen = schedule.make_schedule(recipe, training_run.samples, processes())
    folder = RunFolder(out)
    if is_main():
        folder.check_resumable(recipe, training_run.data, resume)
    model_folder = locate(recipe.model)
    processor = load_processor(model_folder, recipe.max_pixels or None)
    if is_main():
        print(f"checking {len(training_run.all_rows(chosen.rows)):,} rows and their pictures", file=sys.stderr)
        check_run(training_run, chosen, model_folder, processor)
    trainer = _trainer(training_run, chosen, model_folder, processor, folder)
    with full_disk_in_one_line(out), folder.held():
        checkpoint = None
        if is_main():
            folder.open(recipe, training_run.data, resume)
            checkpoint = folder.resume_point()
        checkpoint = from_main(checkpoint)
        with trainer.watch if is_main() else nullcontext():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        final = trainer.finish()
        trainer.accelerator.end_training()
        return final


def check_run(training_run: TrainingRun, chosen: schedule.Schedule, model_folder: Path, processor: Any) -> int:
    """All checks before the first step; the longest prompt in tokens. Raises QInsightError for the first failure."""
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    rows = training_run.all_rows(chosen.rows)
    found = check_images(rows)
    answer = checks.check_answers(rows, training_run.tasks, training_run.recipe.weights, processor.tokenizer)
    context = {**config, **config.get("text_config", {})}["max_position_embeddings"]
    room = training_run.recipe.max_completion_tokens
    return checks.check_lengths(rows, training_run.tasks, found, processor, context, answer, room)


def describe(training_run: TrainingRun, count: int | None = None) -> str:
    """What `--dry-run` prints: the resolved recipe, the rows, the steps, the tokens and the memory of a run in `count`
    processes."""
    recipe = training_run.recipe
    chosen = schedule.make_schedule(recipe, training_run.samples, count or processes())
    _check_installed(recipe)
    where = locate(recipe.model) if resolve(recipe.model).folder else None
    batch, rollouts = chosen.batch, chosen.steps * recipe.total_batch // recipe.num_iterations
    lines = [
        yaml.safe_dump({"grpo": settings(recipe)}, sort_keys=False).rstrip(),
        "",
        "rows        " + ", ".join(f"{task} {count:,}" for task, count in chosen.counts().items()),
        f"batch       {recipe.total_batch} completions = {batch.per_device} x {batch.accumulation} accumulated x "
        f"{_processes(batch.processes)}, {batch.prompts} prompts",
        f"steps       {chosen.steps:,}, {chosen.steps * batch.prompts / max(1, len(chosen.rows)):.2f} times each row",
        f"rollouts    {rollouts:,}",
    ]
    if where is not None:
        longest = check_run(training_run, chosen, where, load_processor(where, recipe.max_pixels or None))
        most = rollouts * recipe.max_completion_tokens
        lines.append(f"tokens      at most {most:,} written; the longest prompt has {longest:,}")
    known = memory.sizes(recipe.model, where)
    if known is not None:
        lines.append("memory      " + _memory(recipe, where, *known))
    return "\n".join(lines)


def _processes(count: int) -> str:
    return f"{count} {'process' if count == 1 else 'processes'}"


def _memory(recipe: GrpoRecipe, where: Path | None, parameters: int, vision: int) -> str:
    adapter = memory.adapter_of(recipe.lora_rank, recipe.lora_targets, where)
    trained = adapter.size or parameters - (vision if recipe.freeze_vision else 0)
    # With an adapter, the reference is the same model with the adapter off.
    reference = 0 if recipe.lora_rank or not recipe.beta else parameters
    found = memory.parts(recipe.dtype, parameters, trained, adapter, reference)
    shared = "so much in each process" if adapter.size else "ZeRO-3 and FSDP divide it among the processes"
    return memory.line(found, parameters, shared)


def _check_installed(recipe: GrpoRecipe) -> None:
    if recipe.vllm:
        require("vllm", f"--vllm {recipe.vllm}")
    if recipe.lora_rank:
        require("lora", "--lora")
    check_tracker(recipe.report_to)


def _trainer(
    training_run: TrainingRun, chosen: schedule.Schedule, model_folder: Path, processor: Any, folder: RunFolder
) -> Any:
    """The trainer, ready to run. The arguments come first: DeepSpeed must be set up when the weights are read."""
    from transformers.utils import logging
    from trl import GRPOConfig

    from qinsight_cli.core.training.finite import check_weights
    from qinsight_cli.core.training.grpo.path_processor import path_processor
    from qinsight_cli.core.training.grpo.recorder import RecordingTrainer

    logging.disable_progress_bar()
    recipe = training_run.recipe
    functions, weights = reward_functions(recipe)
    on_cpu = torch_device("auto").type == "cpu"
    # TRL still uses names that transformers has deprecated.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # from the configuration of a launcher; the recipe decides
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if recipe.bf16 else "no"
    known = processor.tokenizer.get_vocab()
    banned = {token: known[token] for token in PICTURE_TOKENS if token in known}
    arguments = GRPOConfig(**grpo_arguments(recipe, chosen, weights, folder.path, on_cpu, banned))
    _check_distribution(recipe, arguments, bool(training_run.held_out))
    use_one_device(arguments)
    network = load_network(model_folder, torch_dtype(recipe.dtype, torch_device("cpu")))
    keep_hub_names(network)
    check_weights(network, recipe.model)
    if recipe.freeze_vision:
        network.model.visual.requires_grad_(False)
    return RecordingTrainer(
        training_run=training_run,
        folder=folder,
        model=network,
        args=arguments,
        reward_funcs=functions,
        train_dataset=dataset(chosen.rows, training_run.tasks),
        processing_class=path_processor(processor, 3 * chosen.batch.prompts),
        peft_config=lora_config(recipe) if recipe.lora_rank else None,
        skip_zero_variance=recipe.skip_zero_variance,
        rollout_batch=recipe.rollout_batch,
        final_learning_rate=recipe.final_learning_rate,
        final_processor=processor,
        model_folder=model_folder,
    )


def _check_distribution(recipe: GrpoRecipe, arguments: Any, evaluates: bool) -> None:
    kind = str(arguments.distributed_state.distributed_type)
    deepspeed, sharded = arguments.deepspeed_plugin is not None, "FSDP" in kind or bool(arguments.fsdp)
    if recipe.dtype == "bfloat16" and not recipe.lora_rank and not deepspeed:
        raise QInsightError(
            "weights in bfloat16 cannot take updates as small as these; use dtype float32 with --bf16, DeepSpeed, "
            "or --lora"
        )
    if recipe.lora_rank and (deepspeed or sharded):
        raise QInsightError(
            "--lora cannot be merged from sharded weights; run it under plain data parallelism (ddp.yaml)"
        )
    if evaluates and (deepspeed or sharded):
        raise QInsightError(
            "--eval-data needs all weights in each process; under FSDP or DeepSpeed score final/ afterwards"
        )


def dataset(rows: Sequence[Sample], tasks: Mapping[str, Task]) -> Any:
    """The training set for TRL. Pictures stay paths and are opened with their batch."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "id": row.id,
                "task": row.task,
                "truth": truth_text(tasks[row.task], row.answer()),
                "prompt": tasks[row.task].messages(tasks[row.task].order(row.images)),
                "images": [str(row.images[role]) for role in tasks[row.task].order(row.images)],
            }
            for row in rows
        ]
    )
