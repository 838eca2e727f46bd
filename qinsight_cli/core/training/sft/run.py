"""Supervised fine-tuning by recipe: the warm start of `tiny`, and answers-only or reasoned fine-tuning of any model."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.extras import require
from qinsight_cli.core.models.adapters import find
from qinsight_cli.core.models.loading import Model, load_model, torch_device
from qinsight_cli.core.models.names import resolve
from qinsight_cli.core.training import memory
from qinsight_cli.core.training.devices import from_main, is_main, processes, use_one_device
from qinsight_cli.core.training.final_model import write_model
from qinsight_cli.core.training.images import check_images
from qinsight_cli.core.training.reporting import check_tracker
from qinsight_cli.core.training.run_folder import RunFolder, full_disk_in_one_line, settings, whole_folder
from qinsight_cli.core.training.sft import new_model
from qinsight_cli.core.training.sft.batches import Collator, group_rows, plan_batches
from qinsight_cli.core.training.sft.cells import KeptCells, keep_cells
from qinsight_cli.core.training.sft.large import adapted, check_processes
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe

SAVE_EVERY = 150  # steps between checkpoints of a phase
LOG_EVERY = 10  # steps between lines of metrics.jsonl


@dataclass(frozen=True)
class SftRun:
    """What all phases share: the recipe, the rows, the size of each picture, and the folder."""

    recipe: SftRecipe
    samples: Sequence[Sample]
    found: Mapping[Path, tuple[int, int]]
    folder: RunFolder

    def phase_folder(self, number: int) -> Path:
        return self.folder.path / f"{number}-{self.recipe.phases[number - 1].name}"

    def done(self, number: int) -> Path:
        """The model after a phase; it exists only once the phase is finished."""
        return self.phase_folder(number) / "done"


def run_sft(
    recipe: SftRecipe, samples: Sequence[Sample], out: Path, data: Sequence[Mapping[str, Any]], resume: bool = False
) -> Path:
    """Train by the recipe and return `out`/final, a model folder. `run_folder` says what else `out` holds.

    Raises QInsightError before the first step if the data lacks rows that the recipe needs or a picture cannot be
    used, for a folder of another run or one in use, for a full disk, and at the first number that is not finite.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    check_processes(recipe)
    check_tracker(recipe.report_to)
    if recipe.lora_rank:
        require("lora", "lora_rank")
    if recipe.model != "new":
        find(recipe.model)
    folder = RunFolder(out, "sft")
    if is_main():
        folder.check_resumable(recipe, data, resume)
    found = check_run(recipe, samples)
    with full_disk_in_one_line(out), folder.held():
        if is_main():
            folder.open(recipe, data, resume)
        return _train(SftRun(recipe, samples, found, folder))


def check_run(recipe: SftRecipe, samples: Sequence[Sample]) -> dict[Path, tuple[int, int]]:
    """All checks of the data before the first step. Returns width and height of each picture. Raises QInsightError."""
    for phase in recipe.phases:
        group_rows(samples, phase.mix)
    if is_main():
        print(f"checking {len(samples):,} rows and their pictures", file=sys.stderr)
    return check_images(samples)


def _train(run: SftRun) -> Path:
    final = run.folder.path / "final"
    numbers = range(1, len(run.recipe.phases) + 1)
    if final.is_dir():
        return final
    finished = max((number for number in numbers if run.done(number).is_dir()), default=0)
    model = _load(run, finished)
    for number in range(finished + 1, len(run.recipe.phases) + 1):
        _run_phase(run, model, number)
    if is_main():
        base = run.folder.path / "0-new" if run.recipe.model == "new" else find(run.recipe.model)[0]
        with whole_folder(final) as temporary:
            weights = model.network.state_dict().items()
            write_model(temporary, model.network, weights, run.recipe.final_dtype, model.processor, base)
    return final


def _load(run: SftRun, finished: int) -> Model:
    """The model after this many phases, in the recipe's dtype. It is loaded once and kept between phases."""
    from qinsight_cli.core.training.finite import check_weights
    from qinsight_cli.core.training.sft.start import starting_model

    if finished:
        where = "cpu" if run.recipe.model == "new" or processes() > 1 else "auto"
        model = load_model(str(run.done(finished)), device=where, dtype=run.recipe.dtype)
    else:
        model = starting_model(run.recipe, run.samples, run.folder.path / "0-new")
    check_weights(model.network, run.recipe.model)
    return model


def _run_phase(run: SftRun, model: Model, number: int) -> None:
    from transformers import set_seed

    phase = run.recipe.phases[number - 1]
    folder = run.phase_folder(number)
    if is_main():  # other processes may get here before the run is opened
        folder.mkdir(exist_ok=True)
    # A phase draws the same numbers, whatever ran before in this process.
    set_seed(run.recipe.seed + number)
    before = sum(each.steps for each in run.recipe.phases[: number - 1])
    freeze(model.network.model.visual, phase.frozen_blocks)
    if run.recipe.freeze_vision:
        model.network.model.visual.requires_grad_(False)
    trainer = _trainer(run, model, number, before)
    checkpoint = from_main(run.folder.resume_point(folder, before) if is_main() else None)
    with trainer.recorder.watch if is_main() else nullcontext():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # without the autocast of this phase
    if phase.kind == "see":
        from qinsight_cli.core.training.sft.trainers import HEADS, save_heads

        save_heads(trainer.model, folder / HEADS)
    if run.recipe.lora_rank:
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()  # one weight after the other, in place
    if is_main():
        with whole_folder(run.done(number)) as temporary:
            model.network.save_pretrained(temporary)
            model.processor.save_pretrained(temporary)
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    trainer.accelerator.wait_for_everyone()


def freeze(tower: Any, blocks: int) -> None:
    """Freeze the stem and this many blocks of a convolutional vision module; train everything else."""
    tower.requires_grad_(True)
    if not hasattr(tower, "trunk"):
        return
    tower.trunk.frozen = blocks
    for part in (tower.trunk.stem, *tower.trunk.blocks[:blocks]) if blocks else ():
        part.requires_grad_(False)


def _trainer(run: SftRun, model: Model, number: int, before: int) -> Any:
    """The trainer of a phase; `before` counts the steps of the phases before it."""
    from transformers import TrainingArguments
    from trl import SFTConfig

    from qinsight_cli.core.training.sft import trainers
    from qinsight_cli.core.training.sft.heads import SeeingTower

    phase, tower = run.recipe.phases[number - 1], model.network.model.visual
    dataset, collator = _planned(run, model, number)
    more: dict[str, Any] = {
        "samples": run.samples,
        "recorder": trainers.Recorder(run.folder, phase, before),
        "train_dataset": dataset,
        "data_collator": collator,
    }
    if phase.kind == "see":
        seeing = SeeingTower(tower, model.network.config.vision_config.out_hidden_size)
        earlier = [run.phase_folder(one) / trainers.HEADS for one in range(1, number)]
        left = [path for path in earlier if path.is_file()]
        if left:
            trainers.load_heads(seeing, left[-1])
        return trainers.SeeingTrainer(
            model=seeing,
            args=_arguments(TrainingArguments, run, model, number),
            optimizers=(trainers.make_optimizer(seeing, tower, phase), None),
            **more,
        )
    checkpointing = run.recipe.gradient_checkpointing  # TRL's default is on
    settings_of_trl = {
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if checkpointing else None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    network = adapted(model.network, run.recipe)
    return trainers.TalkingTrainer(
        model=network,
        args=_arguments(SFTConfig, run, model, number, **settings_of_trl),
        processing_class=model.processor,
        optimizers=(trainers.make_optimizer(network, tower, phase), None),
        **more,
    )


def _arguments(kind: type, run: SftRun, model: Model, number: int, **more: Any) -> Any:
    phase = run.recipe.phases[number - 1]
    arguments = kind(
        output_dir=str(run.phase_folder(number)),
        max_steps=phase.steps,
        per_device_train_batch_size=1,  # one item is one planned batch, or a part of it
        gradient_accumulation_steps=phase.accumulation,
        learning_rate=phase.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=phase.warmup,
        weight_decay=0.01,
        adam_beta2=0.98,  # few steps: averages over fewer steps than Adam's 0.999
        max_grad_norm=1.0,
        bf16=run.recipe.bf16,
        use_cpu=(model.network.device if processes() == 1 else torch_device("auto")).type == "cpu",
        logging_steps=LOG_EVERY,
        save_steps=SAVE_EVERY,
        save_total_limit=2,  # the older one, in case a kill interrupts the writing of the newer
        seed=run.recipe.seed + number,
        dataloader_num_workers=run.recipe.workers,
        dataloader_prefetch_factor=4 if run.recipe.workers else None,
        remove_unused_columns=False,
        report_to=run.recipe.report_to,
        run_name=f"{run.folder.path.name}-{phase.name}",
        disable_tqdm=True,
        **more,
    )
    use_one_device(arguments)
    return arguments


def _planned(run: SftRun, model: Model, number: int) -> tuple[Any, Collator]:
    """The planned batches as a dataset, in order, and the collator that makes tensors of each."""
    from datasets import Dataset

    recipe, phase = run.recipe, run.recipe.phases[number - 1]
    seed = recipe.seed * 1000 + number
    parts = phase.accumulation * processes()  # of a step, each a planned batch of its own
    planned = replace(phase, steps=phase.steps * parts, batch=phase.batch // parts)
    batches = plan_batches(run.samples, planned, model.processor, seed, run.found)
    rows = [{"rows": batch, "seed": seed * 100_000 + index} for index, batch in enumerate(batches)]
    kept = _kept_cells(run, model) if phase.keep_cells else None
    return Dataset.from_list(rows), Collator(
        run.samples, model.processor, phase, recipe.token_weights, recipe.rating_spread, kept
    )


def _kept_cells(run: SftRun, model: Model) -> KeptCells:
    """The cells of all pictures of the phases that keep them, in one file for all."""
    drawn = {
        index
        for phase in run.recipe.phases
        if phase.keep_cells
        for group in group_rows(run.samples, phase.mix).values()
        for index in group
    }
    pictures = dict.fromkeys(path for index in sorted(drawn) for path in run.samples[index].images.values())
    return keep_cells(run.folder.path / "cells", list(pictures), run.found, model.network.model.visual, model.processor)


def describe(recipe: SftRecipe, samples: Sequence[Sample]) -> str:
    """What `--dry-run` prints: the resolved recipe, the rows, the phases and the memory. Raises as `check_run` does."""
    where = find(recipe.model)[0] if recipe.model != "new" and resolve(recipe.model).folder else None
    check_run(recipe, samples)
    rows = Counter(sample.task for sample in samples)
    lines = [
        yaml.safe_dump({"sft": settings(recipe)}, sort_keys=False).rstrip(),
        "",
        "rows        " + ", ".join(f"{task} {count:,}" for task, count in sorted(rows.items())),
    ]
    for number, phase in enumerate(recipe.phases, 1):
        drawn = len({index for group in group_rows(samples, phase.mix).values() for index in group})
        lines.append(f"phase {number}     {_phase_line(phase, drawn)}")
    known = new_model.sizes(recipe.network) if recipe.model == "new" else memory.sizes(recipe.model, where)
    if known is not None:
        lines.append("memory      " + _memory(recipe, where, *known))
    return "\n".join(lines)


def _memory(recipe: SftRecipe, where: Path | None, parameters: int, vision: int) -> str:
    """The memory of the phase that needs most; frozen blocks count as trained."""
    adapter = memory.adapter_of(recipe.lora_rank, recipe.lora_targets, where)
    whole = parameters - (vision if recipe.freeze_vision else 0)
    trained = vision if all(phase.kind == "see" for phase in recipe.phases) else adapter.size or whole
    return memory.line(memory.parts(recipe.dtype, parameters, trained, adapter), parameters, "in each process")


def _phase_line(phase: Phase, drawn: int) -> str:
    pictures = phase.steps * phase.batch
    return (
        f"{phase.name} ({phase.kind}), {phase.steps:,} steps of {phase.batch} pictures, {pictures:,} in all, "
        f"drawn from {drawn:,} rows"
    )
