"""Supervised fine-tuning by recipe: the warm start of `tiny`, and answers-only or reasoned fine-tuning of any model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.images import check_images
from qinsight_cli.core.training.run_folder import WHOLE, environment, last_checkpoint
from qinsight_cli.core.training.sft.batches import Collator, gold_completion, plan_batches
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe

SAVE_EVERY = 150  # steps between checkpoints of a phase
PICTURES = 200  # that a new vision module is standardised on


@dataclass(frozen=True)
class Stage:
    """What a phase works on: the network, its processor, the rows and where its files go."""

    network: Any
    processor: Any
    samples: Sequence[Sample]
    recipe: SftRecipe
    folder: Path


def run_sft(recipe: SftRecipe, samples: Sequence[Sample], out: Path, data: Sequence[dict[str, Any]]) -> Path:
    """Train by the recipe and return `out`/final, a model folder. A finished phase found in `out` is not repeated.

    out/recipe.json, environment.json  the resolved recipe, versions and data digests of the run
    out/metrics.jsonl                  one line every logged step
    out/N-PHASE/                       checkpoints, then `done/`, the model after the phase
    Raises QInsightError when `out` belongs to another recipe, the data lacks rows that the recipe asks for, or a
    picture cannot be used.
    """
    from transformers import set_seed
    from transformers.utils import logging

    from qinsight_cli.core.models.loading import load_model

    logging.disable_progress_bar()
    check_images(samples)
    _open_run(recipe, out, data)
    set_seed(recipe.seed)
    folder = _starting_point(recipe, samples, out)
    for number, phase in enumerate(recipe.phases, 1):
        done = out / f"{number}-{phase.name}" / "done"
        if not (done / "config.json").is_file():
            _run_phase(recipe, phase, number, folder, samples, out)
        folder = done
    final = out / "final"
    model = load_model(str(folder), device="cpu", dtype=recipe.final_dtype)
    model.network.save_pretrained(final)
    model.processor.save_pretrained(final)
    return final


def _open_run(recipe: SftRecipe, out: Path, data: Sequence[dict[str, Any]]) -> None:
    settings = json.dumps({"recipe": asdict(recipe), "data": list(data)}, indent=2, default=str) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "recipe.json"
    if path.is_file() and path.read_text() != settings:
        raise QInsightError(f"{out} holds a run of another recipe or other data; choose another --out")
    path.write_text(settings)
    (out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")


def _starting_point(recipe: SftRecipe, samples: Sequence[Sample], out: Path) -> Path:
    """The model folder that the first phase starts from."""
    from qinsight_cli.core.models.names import locate
    from qinsight_cli.core.training.sft.new_model import build

    if recipe.model != "new":
        return locate(recipe.model)
    folder = out / "0-new"
    if not (folder / "config.json").is_file():
        corpus = [gold_completion(sample) for sample in samples[:: max(1, len(samples) // 20_000)]]
        build(folder, corpus, recipe.network, recipe.seed)
        if recipe.network.encoder:
            _standardise(folder, samples, recipe.seed)
    return folder


def _standardise(folder: Path, samples: Sequence[Sample], seed: int) -> None:
    """Start the vision module at mean 0 and spread 1 over some of the pictures that it will see."""
    import torch

    from qinsight_cli.core.images import load_image
    from qinsight_cli.core.models.loading import load_model
    from qinsight_cli.core.training.sft.heads import standardise

    rng = np.random.default_rng(seed)
    chosen = [samples[index] for index in rng.choice(len(samples), min(PICTURES, len(samples)), replace=False)]
    model = load_model(str(folder), device="cpu")
    tower = model.network.model.visual

    def pictures() -> Iterator[Any]:
        for sample in chosen:
            image = load_image(next(iter(sample.images.values()))).image
            seen = model.processor.image_processor([image])
            _, height, width = np.asarray(seen["image_grid_thw"])[0].tolist()
            yield tower.assemble(torch.as_tensor(np.asarray(seen["pixel_values"])), height, width)

    standardise(tower, pictures())
    model.network.save_pretrained(folder)


def _run_phase(recipe: SftRecipe, phase: Phase, number: int, start: Path, samples: Sequence[Sample], out: Path) -> None:
    from qinsight_cli.core.models.loading import load_model

    folder = out / f"{number}-{phase.name}"
    folder.mkdir(exist_ok=True)
    model = load_model(str(start), device="cpu" if recipe.model == "new" else "auto", dtype="float32")
    freeze(model.network.model.visual, phase.frozen_blocks)
    stage = Stage(model.network, model.processor, samples, recipe, folder)
    trainer = _seeing_trainer(stage, phase, number) if phase.kind == "see" else _talking_trainer(stage, phase, number)
    trainer.add_callback(_mark_checkpoints())
    checkpoint = last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _append_metrics(out / "metrics.jsonl", phase, trainer.state.log_history)
    temporary = folder / "done.part"
    stage.network.save_pretrained(temporary)
    stage.processor.save_pretrained(temporary)
    temporary.rename(folder / "done")
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def freeze(tower: Any, blocks: int) -> None:
    """Keep the stem and so many blocks of a convolutional vision module as they are."""
    if not blocks:
        return
    tower.trunk.frozen = blocks
    tower.trunk.stem.requires_grad_(False)
    for block in tower.trunk.blocks[:blocks]:
        block.requires_grad_(False)


def _mark_checkpoints() -> Any:
    """Each checkpoint gets its mark once it is whole: a kill while one is written leaves the one before."""
    from transformers import TrainerCallback

    class MarkCheckpoints(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()

    return MarkCheckpoints()


def _append_metrics(path: Path, phase: Phase, history: list[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for line in history:
            file.write(json.dumps({"phase": phase.name, **line}) + "\n")


def _arguments(kind: type, stage: Stage, phase: Phase, number: int, **more: Any) -> Any:
    return kind(
        output_dir=str(stage.folder),
        max_steps=phase.steps,
        per_device_train_batch_size=1,  # one item is one planned batch
        learning_rate=phase.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=phase.warmup,
        weight_decay=0.01,
        adam_beta2=0.98,  # few steps: a shorter memory than Adam's 0.999
        max_grad_norm=1.0,
        bf16=stage.recipe.bf16,
        use_cpu=stage.network.device.type == "cpu",
        logging_steps=10,
        save_steps=SAVE_EVERY,
        save_total_limit=2,  # the older one, should a kill come while the newer is written
        seed=stage.recipe.seed + number,
        dataloader_num_workers=stage.recipe.workers,
        dataloader_prefetch_factor=4 if stage.recipe.workers else None,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def _planned(stage: Stage, phase: Phase, number: int) -> tuple[Any, Collator]:
    """The planned batches as a dataset, in order, and the collator that makes tensors of each."""
    from datasets import Dataset

    seed = stage.recipe.seed * 1000 + number
    batches = plan_batches(stage.samples, phase, stage.processor, seed)
    rows = [{"rows": batch, "seed": seed * 100_000 + index} for index, batch in enumerate(batches)]
    return Dataset.from_list(rows), Collator(
        stage.samples, stage.processor, phase, stage.recipe.token_weights, stage.recipe.rating_spread
    )


def _seeing_trainer(stage: Stage, phase: Phase, number: int) -> Any:
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    from qinsight_cli.core.training.sft.heads import SeeingTower

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    heads = stage.folder.parent / "seeing_heads.pt"  # the heads live on from one seeing phase to the next
    seeing = SeeingTower(stage.network.model.visual, stage.network.config.vision_config.out_hidden_size)
    _load_heads(seeing, heads)
    dataset, collator = _planned(stage, phase, number)
    arguments = _arguments(TrainingArguments, stage, phase, number)
    trainer = InOrder(
        model=seeing,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        optimizers=(_optimizer(seeing, stage.network.model.visual, phase), None),
    )
    trainer.add_callback(_keep_heads(seeing, heads))
    return trainer


def _load_heads(seeing: Any, path: Path) -> None:
    import torch

    if path.is_file():
        seeing.load_state_dict(torch.load(path, weights_only=True), strict=False)


def _keep_heads(seeing: Any, path: Path) -> Any:
    import torch
    from transformers import TrainerCallback

    class KeepHeads(TrainerCallback):
        def on_train_end(self, *_: Any, **__: Any) -> None:
            torch.save({name: value for name, value in seeing.state_dict().items() if "heads" in name}, path)

    return KeepHeads()


def _talking_trainer(stage: Stage, phase: Phase, number: int) -> Any:
    from torch.nn import functional
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer

    class WeightedSft(SFTTrainer):
        """TRL's SFTTrainer with a loss weight for each token, batches in planned order, and a resume that works."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

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
                rows, columns = soft["digit_places"].T
                columns = columns - (inputs["input_ids"].shape[1] - longest)
                digits = logits[rows, columns].float().log_softmax(-1)[:, soft["digit_ids"]]
                losses = losses.index_put((rows, columns), -(digits * soft["digit_targets"]).sum(-1))
            loss = (losses * weights).sum() / weights.sum()
            return (loss, logits) if return_outputs else loss

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            # Trainer looks for the names of the module and finds none of the checkpoint's: it would load nothing.
            network = self.accelerator.unwrap_model(model if model is not None else self.model)
            loaded = type(network).from_pretrained(resume_from_checkpoint, dtype=network.dtype, local_files_only=True)
            network.load_state_dict(loaded.state_dict(), strict=True)

    dataset, collator = _planned(stage, phase, number)
    arguments = _arguments(
        SFTConfig, stage, phase, number, gradient_checkpointing=False, dataset_kwargs={"skip_prepare_dataset": True}
    )
    return WeightedSft(
        model=stage.network,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        processing_class=stage.processor,
        optimizers=(_optimizer(stage.network, stage.network.model.visual, phase), None),
    )


def _optimizer(model: Any, tower: Any, phase: Phase) -> Any:
    """AdamW with a learning rate of its own for the vision module; of a convolutional one for its trunk."""
    import torch

    seeing = {id(parameter) for parameter in getattr(tower, "trunk", tower).parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        ([each for each in trained if id(each) not in seeing], phase.learning_rate),
        ([each for each in trained if id(each) in seeing], phase.vision_learning_rate or phase.learning_rate),
    ]
    return torch.optim.AdamW(
        [{"params": members, "lr": rate} for members, rate in groups if members], betas=(0.9, 0.98), weight_decay=0.01
    )
