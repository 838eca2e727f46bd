"""`qinsight train`: fine-tune a model by a recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from qinsight_cli.commands.console import say, show, write
from qinsight_cli.commands.flat import flat, written
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.training.grpo.recipe import LARGE, RUN, GrpoRecipe
from qinsight_cli.core.training.keys import Setting, option_of, settings

DEFAULT_RECIPE = "tiny"
RUNS = Path("runs")
DEFAULT_LAUNCH = "ddp"
PAIRS = ("mix", "weights")  # keys with values such as NAME=NUMBER,NAME=NUMBER


class Algorithm(StrEnum):
    grpo = "grpo"
    sft = "sft"


@dataclass(frozen=True, kw_only=True)
class Training:
    """The recipe, the data and the run folder."""

    algorithm: Annotated[
        Algorithm, typer.Option("--algorithm", help="grpo learns from rewards, sft from written answers.")
    ] = Algorithm.grpo
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe of the package, or a YAML file; tiny by default.")
    ] = None
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="A prepared dataset; repeatable. All under data/ by default."),
    ] = None
    eval_data: Annotated[
        list[Path] | None,
        typer.Option("--eval-data", help="Evaluate on the test rows of this dataset during training; repeatable."),
    ] = None
    out: Annotated[Path | None, written("--out", help="Run folder; runs/TIME-RECIPE by default.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the recipe; repeatable."),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.", rich_help_panel=RUN)] = False
    processes: Annotated[
        str | None,
        typer.Option(
            "--processes", metavar="N|auto", help="Train in N processes; auto: one per GPU.", rich_help_panel=LARGE
        ),
    ] = None
    launch: Annotated[
        str,
        typer.Option(
            "--launch",
            metavar="NAME",
            help="How processes share the model: ddp, fsdp, zero3, or a YAML file of Accelerate.",
            rich_help_panel=LARGE,
        ),
    ] = DEFAULT_LAUNCH
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the plan of the run; do not train.", rich_help_panel=RUN)
    ] = False
    listed: Annotated[
        bool, typer.Option("--list", help="Show the runs in runs/; do not train.", rich_help_panel=RUN)
    ] = False

    @property
    def folder(self) -> Path:
        """--out, or a new name in runs/ that sorts by time."""
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{Path(self.recipe or DEFAULT_RECIPE).stem}"
        return self.out or RUNS / name


def option(name: str, kind: Any, setting: Setting) -> Any:
    """The annotation of a recipe key as an option. Without the option the recipe decides."""
    metavar = setting.metavar
    if get_origin(kind) is Literal:
        kind = Literal[tuple(word for word in get_args(kind) if word)]
    elif kind in (int, float):
        metavar = metavar or ("N" if kind is int else "X")
    elif kind is not bool:
        kind = str  # names, or NAME=NUMBER pairs, separated by commas
    least = int(setting.least) if kind is int and setting.least is not None else None
    declared = typer.Option(
        option_of(name, setting, kind), help=setting.help, metavar=metavar, min=least, rich_help_panel=setting.panel
    )
    return Annotated[kind | None, declared]


# The keys of the recipe as options, one field for each; None if the command line does not set it.
RecipeKeys = make_dataclass(
    "RecipeKeys",
    [(each.name, option(each.name, kind, setting), None) for each, kind, setting in settings(GrpoRecipe)],
    frozen=True,
    kw_only=True,
)


@flat
def train(training: Training, keys: RecipeKeys) -> None:  # type: ignore[valid-type]
    """Train a model on prepared datasets by a recipe: GRPO from rewards, or SFT from written answers.

    Options override the recipe.
    """
    from qinsight_cli.core.training.run_folder import algorithm_of

    if training.listed:
        _list(training.out or RUNS)
        return
    given = _assignments(training.settings or ())
    for each in fields(GrpoRecipe):
        value = getattr(keys, each.name)
        if value is not None:
            given[each.name] = _assignments(value.split(",")) if each.name in PAIRS else value
    if training.resume:
        if training.out is None:
            raise UsageError("--resume needs --out, the folder of the run")
        training = _with_earlier_inputs(replace(training, algorithm=Algorithm(algorithm_of(training.out))))
    if training.algorithm is Algorithm.sft:
        _refuse_with_sft(given, training)
    if training.launch != DEFAULT_LAUNCH and not training.processes:
        raise UsageError("--launch is for several processes; give --processes too")
    if training.processes and not training.dry_run and _launched(training):
        return
    if training.algorithm is Algorithm.sft:
        _sft(training, given)
    else:
        _grpo(training, given)


def _launched(training: Training) -> bool:
    """Run this command line in several processes, unless this is one of them or one is enough. Whether it did."""
    from qinsight_cli.core.training import launch
    from qinsight_cli.core.training.devices import processes

    wanted, config = launch.count(training.processes or ""), launch.config_file(training.launch)
    if processes() > 1:
        return False
    if wanted == 1:
        if training.launch != DEFAULT_LAUNCH:
            raise UsageError(f"--launch {training.launch} is for several processes, and here it is one: leave it out")
        return False
    arguments = sys.argv[1:]
    if training.out is None:  # all processes need the same folder
        arguments += ["--out", str(training.folder)]
    code = launch.launch(arguments, wanted, config)
    if code:
        raise typer.Exit(code)
    return True


def _list(folder: Path) -> None:
    from qinsight_cli.core.report.runs import runs_table
    from qinsight_cli.core.training.runs import find_runs

    found = find_runs(folder, datetime.now())
    if found:
        show(runs_table(found))
    else:
        say(f"no runs in {folder}")


def _sft(training: Training, given: dict[str, Any]) -> None:
    from qinsight_cli.core.training.datasets import collect
    from qinsight_cli.core.training.recipe import load_sft
    from qinsight_cli.core.training.sft import run

    chosen = load_sft(training.recipe or DEFAULT_RECIPE, given)
    samples, digests = collect(training.data, {name for phase in chosen.phases for name in phase.mix})
    if training.dry_run:
        write(run.describe(chosen, samples))
        return
    what = _summary(chosen.model, len(samples), digests)
    _run(training, what, lambda folder: run.run_sft(chosen, samples, folder, digests, training.resume))


def _grpo(training: Training, given: dict[str, Any]) -> None:
    from qinsight_cli.core.training.datasets import collect, set_aside
    from qinsight_cli.core.training.grpo import run
    from qinsight_cli.core.training.recipe import load_grpo

    chosen = load_grpo(training.recipe or DEFAULT_RECIPE, given)
    samples, digests = collect(training.data, chosen.tasks)
    held_out: list[Any] = []
    validation: list[Any] = []
    if training.eval_data:
        held_out, of_test = collect(training.eval_data, chosen.tasks, "test")
        samples, validation, of_validation = set_aside(samples, digests, chosen.tasks, chosen.seed)
        digests = [*digests, *of_test, *of_validation]
    training_run = run.TrainingRun(chosen, samples, digests, held_out, validation)
    if training.dry_run:
        from qinsight_cli.core.training import launch

        print(run.describe(training_run, launch.count(training.processes) if training.processes else None))
        return
    what = _summary(chosen.model, len(samples), digests)
    _run(training, what, lambda folder: run.run_grpo(training_run, folder, training.resume))


def _summary(model: str, rows: int, digests: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(str(one["data"]) for one in digests if one["split"] == "train")
    return f"training {model} on {names}: {rows:,} rows"


def _run(training: Training, what: str, run: Callable[[Path], Path]) -> None:
    """Train in the run folder, and print the folder of the final model. Ctrl-C tells the user how to resume."""
    from qinsight_cli.core.training.devices import is_main, processes

    if training.out is None and processes() > 1:
        raise UsageError("several processes need --out, the folder of the run")
    folder = training.folder
    if is_main():
        say(f"{what}, in {folder}")
    try:
        final = run(folder)
    except KeyboardInterrupt:
        if is_main() and (folder / "recipe.yaml").is_file():
            say(f"interrupted; to resume: qinsight train --resume --out {folder}")
        raise
    if is_main():
        write(str(final))


def _with_earlier_inputs(training: Training) -> Training:
    """The options of a resumed run: the recipe and the data of the run in --out, unless the command line sets them."""
    from qinsight_cli.core.training.run_folder import RunFolder

    out = training.folder
    used = RunFolder(out).data()
    before = {split: [Path(one["folder"]) for one in used if one["split"] == split] for split in ("train", "test")}
    return replace(
        training,
        recipe=training.recipe or str(out / "recipe.yaml"),
        data=training.data or before["train"],
        eval_data=training.eval_data or before["test"],
    )


def _assignments(words: Iterable[str]) -> dict[str, Any]:
    """["beta=0.04", ...] -> {"beta": 0.04}, values read as YAML."""
    import yaml

    from qinsight_cli.core.training.recipe import read_yaml

    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = read_yaml(text)
        except yaml.YAMLError:
            value = None
        if not name.strip() or value is None:
            raise UsageError(f"{word!r} does not have the form NAME=VALUE")
        found[name.strip()] = value
    return found


def _refuse_with_sft(given: dict[str, Any], training: Training) -> None:
    refused = [name for name in given if name not in ("model", "seed", "report_to")]
    refused += ["eval_data"] if training.eval_data else []
    if refused:
        raise UsageError(f"{refused[0]} is only for --algorithm grpo; for sft set it in a recipe (--recipe FILE)")
