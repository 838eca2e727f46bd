"""`qinsight train`: fine-tune a model by a recipe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from qinsight_cli.commands.options import written


class Algorithm(StrEnum):
    grpo = "grpo"
    sft = "sft"


class Vllm(StrEnum):
    colocate = "colocate"
    server = "server"


class ReportTo(StrEnum):
    none = "none"
    tensorboard = "tensorboard"
    wandb = "wandb"
    trackio = "trackio"


UPDATE, LARGE, RUN = "Update", "Large models", "Run"

AlgorithmOption = Annotated[
    Algorithm, typer.Option("--algorithm", help="grpo learns from rewards, sft from written answers.")
]
Tasks = Annotated[
    str | None, typer.Option("--tasks", metavar="NAMES", help="score,degradation,comparison: one or several.")
]
Recipe = Annotated[
    str | None, typer.Option("--recipe", help="A recipe of the package, or a YAML file; tiny by default.")
]
Data = Annotated[
    list[Path] | None, typer.Option("--data", help="A prepared dataset; repeatable. All under data/ by default.")
]
EvalData = Annotated[
    list[Path] | None,
    typer.Option("--eval-data", help="Answer the test rows of this dataset while training; repeatable."),
]
Out = Annotated[Path | None, written("--out", help="Run folder; runs/TIME-RECIPE by default.")]
Model = Annotated[str | None, typer.Option("--model", help="Start from this model instead of the recipe's.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Overrides the recipe's seed.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=RUN)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and check it.", rich_help_panel=RUN)]
ReportToOption = Annotated[ReportTo | None, typer.Option("--report-to", help="Also log there.", rich_help_panel=RUN)]
MaxSteps = Annotated[
    int | None, typer.Option("--max-steps", min=1, metavar="N", help="End after N updates.", rich_help_panel=UPDATE)
]
Mix = Annotated[
    str | None,
    typer.Option("--mix", metavar="SHARES", help="score=2,degradation=1: share of each.", rich_help_panel=UPDATE),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", min=1, metavar="N", help="Completions an update, all in all.", rich_help_panel=UPDATE),
]
PerDeviceBatch = Annotated[
    int | None,
    typer.Option("--per-device-batch", min=1, metavar="N", help="Completions at a time.", rich_help_panel=UPDATE),
]
NumGenerations = Annotated[
    int | None,
    typer.Option("--num-generations", metavar="N", help="Completions of a prompt.", rich_help_panel=UPDATE),
]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", metavar="X", help="At the start.", rich_help_panel=UPDATE)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any line of the recipe; repeatable.", rich_help_panel=UPDATE),
]
Lora = Annotated[
    int | None,
    typer.Option("--lora", min=1, metavar="RANK", help="Train a low-rank adapter.", rich_help_panel=LARGE),
]
LoraTargets = Annotated[
    str | None,
    typer.Option("--lora-targets", metavar="NAMES", help="Adapted projections: q_proj,v_proj.", rich_help_panel=LARGE),
]
FreezeVision = Annotated[
    bool | None,
    typer.Option("--freeze-vision/--train-vision", help="Keep the vision tower.", rich_help_panel=LARGE),
]
Bf16 = Annotated[
    bool | None, typer.Option("--bf16/--no-bf16", help="Steps in bfloat16 autocast.", rich_help_panel=LARGE)
]
GradientCheckpointing = Annotated[
    bool | None,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing", help="Less memory, more time.", rich_help_panel=LARGE
    ),
]
VllmOption = Annotated[Vllm | None, typer.Option("--vllm", help="Completions from vLLM.", rich_help_panel=LARGE)]
VllmUrl = Annotated[
    str | None, typer.Option("--vllm-url", metavar="URL", help="Where its server is.", rich_help_panel=LARGE)
]


def train(
    algorithm: AlgorithmOption = Algorithm.grpo,
    tasks: Tasks = None,
    recipe: Recipe = None,
    data: Data = None,
    eval_data: EvalData = None,
    out: Out = None,
    model: Model = None,
    seed: Seed = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    report_to: ReportToOption = None,
    max_steps: MaxSteps = None,
    mix: Mix = None,
    batch: Batch = None,
    per_device_batch: PerDeviceBatch = None,
    num_generations: NumGenerations = None,
    learning_rate: LearningRate = None,
    settings: Settings = None,
    lora: Lora = None,
    lora_targets: LoraTargets = None,
    freeze_vision: FreezeVision = None,
    bf16: Bf16 = None,
    gradient_checkpointing: GradientCheckpointing = None,
    vllm: VllmOption = None,
    vllm_url: VllmUrl = None,
) -> None:
    """Train by a recipe. What stands on the command line wins over the recipe."""
    options = {
        "model": model,
        "seed": seed,
        "tasks": tasks,
        "mix": None if mix is None else _assignments(mix.split(",")),
        "report_to": report_to and report_to.value,
        "max_steps": max_steps,
        "total_batch": batch,
        "per_device_batch": per_device_batch,
        "num_generations": num_generations,
        "learning_rate": learning_rate,
        "lora_rank": lora,
        "lora_targets": lora_targets,
        "freeze_vision": freeze_vision,
        "bf16": bf16,
        "gradient_checkpointing": gradient_checkpointing,
        "vllm": vllm and vllm.value,
        "vllm_url": vllm_url,
    }
    named = {name: value for name, value in options.items() if value is not None}
    _start(algorithm, recipe, {**_assignments(settings or ()), **named}, data, eval_data, out, resume, dry_run)


def _start(
    algorithm: Algorithm,
    recipe: str | None,
    given: dict[str, Any],
    data: list[Path] | None,
    eval_data: list[Path] | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
) -> None:
    """`given` are the lines of the recipe that the command line says."""
    if algorithm is Algorithm.sft:
        _refuse_with_sft(given, eval_data, resume, dry_run)
        _sft(recipe or "tiny", given, data, out)
    else:
        _grpo(recipe, given, data, eval_data, out, resume, dry_run)


def _sft(recipe: str, given: dict[str, Any], data: list[Path] | None, out: Path | None) -> None:
    from qinsight_cli.core.training.datasets import collect
    from qinsight_cli.core.training.recipe import load_sft
    from qinsight_cli.core.training.sft.run import run_sft

    chosen = load_sft(recipe, given)
    samples, digests = collect(data, {name for phase in chosen.phases for name in phase.mix})
    folder = out or _new_folder(recipe)
    typer.echo(f"training on {len(samples):,} rows, in {folder}; first their pictures are checked", err=True)
    named = [{name: one[name] for name in ("data", "sha256")} for one in digests]
    typer.echo(run_sft(chosen, samples, folder, named))


def _grpo(
    recipe: str | None,
    given: dict[str, Any],
    data: list[Path] | None,
    eval_data: list[Path] | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
) -> None:
    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.training.datasets import collect
    from qinsight_cli.core.training.grpo import run
    from qinsight_cli.core.training.recipe import load_grpo

    if out is None and (resume or run.processes() > 1):
        raise UsageError("give --out, the folder of the run" + (" to go on with" if resume else ""))
    if resume and out is not None:
        recipe, data, eval_data = _as_before(out, recipe, data, eval_data)
    chosen = load_grpo(recipe or "tiny", given)
    samples, digests = collect(data, chosen.tasks)
    held_out, held_digests = collect(eval_data, chosen.tasks, "test") if eval_data else ([], [])
    training_run = run.TrainingRun(chosen, samples, [*digests, *held_digests], held_out)
    if dry_run:
        typer.echo(run.describe(training_run))
        return
    folder = out or _new_folder(recipe or "tiny")
    if run.is_main():
        names = ", ".join(str(one["data"]) for one in digests)
        typer.echo(f"training {chosen.model} on {names}: {len(samples):,} rows, in {folder}", err=True)
    try:
        final = run.run_grpo(training_run, folder, resume)
    except KeyboardInterrupt:
        if run.is_main() and (folder / "recipe.yaml").is_file():
            typer.echo(f"interrupted; go on with: qinsight train --resume --out {folder}", err=True)
        raise
    if run.is_main():
        typer.echo(final)


def _as_before(
    out: Path, recipe: str | None, data: list[Path] | None, eval_data: list[Path] | None
) -> tuple[str | None, list[Path] | None, list[Path] | None]:
    """The recipe and the data of the run in `out` wherever the command line leaves them open."""
    from qinsight_cli.core.errors import QInsightError
    from qinsight_cli.core.training.run_folder import RunFolder

    if not (out / "run.json").is_file():
        raise QInsightError(f"{out} holds no GRPO run to resume")
    used = RunFolder(out).data()
    before = {split: [Path(one["folder"]) for one in used if one["split"] == split] for split in ("train", "test")}
    return recipe or str(out / "recipe.yaml"), data or before["train"], eval_data or before["test"]


def _new_folder(recipe: str) -> Path:
    """runs/ and a name that sorts by time."""
    from datetime import datetime

    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{Path(recipe).stem}"


def _assignments(words: Any) -> dict[str, Any]:
    """["beta=0.04", ...] -> {"beta": 0.04}, values read as YAML."""
    import yaml

    from qinsight_cli.core.errors import UsageError

    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not name.strip() or value is None:
            raise UsageError(f"{word!r} is not of the form NAME=VALUE")
        found[name.strip()] = value
    return found


def _refuse_with_sft(given: dict[str, Any], eval_data: list[Path] | None, resume: bool, dry_run: bool) -> None:
    from qinsight_cli.core.errors import UsageError

    others = {"eval_data": eval_data, "resume": resume, "dry_run": dry_run}
    refused = [name for name in given if name not in ("model", "seed")] + [name for name in others if others[name]]
    if refused:
        raise UsageError(f"{refused[0]} is a setting of --algorithm grpo; sft takes its settings from the recipe")
