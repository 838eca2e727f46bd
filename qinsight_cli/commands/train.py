"""`qinsight train`: fine-tune a model by a recipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, make_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from qinsight_cli.commands.console import say, show, write
from qinsight_cli.commands.flat import flat, written
from qinsight_cli.core.training.grpo.recipe import LARGE, RUN, GrpoRecipe
from qinsight_cli.core.training.keys import Setting, option_of, settings

DEFAULT_RECIPE = "tiny"
RUNS = Path("runs")
DEFAULT_LAUNCH = "ddp"
PAIRS = ("mix", "weights")  # NAME=NUMBER with commas


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
        typer.Option("--eval-data", help="Answer the test rows of this dataset while training; repeatable."),
    ] = None
    out: Annotated[Path | None, written("--out", help="Run folder; runs/TIME-RECIPE by default.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A line of the recipe by its key; repeatable."),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=RUN)] = False
    processes: Annotated[
        str | None,
        typer.Option(
            "--processes", metavar="N|auto", help="Train in N processes, or one a GPU.", rich_help_panel=LARGE
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
        bool, typer.Option("--dry-run", help="Print what would be done, and check it.", rich_help_panel=RUN)
    ] = False

    listed: Annotated[
        bool, typer.Option("--list", help="Show the runs in runs/, and train nothing.", rich_help_panel=RUN)
    ] = False

    @property
    def folder(self) -> Path:
        """--out, or runs/ and a name that sorts by time."""
        from datetime import datetime

        name = f"{datetime.now():%Y%m%d-%H%M%S}-{Path(self.recipe or DEFAULT_RECIPE).stem}"
        return self.out or RUNS / name


def option(name: str, kind: Any, setting: Setting) -> Any:
    """The annotation of a key of the recipe as an option that may be left out: then the recipe decides."""
    metavar = setting.metavar
    if get_origin(kind) is Literal:
        kind = Literal[tuple(word for word in get_args(kind) if word)]
    elif kind in (int, float):
        metavar = metavar or ("N" if kind is int else "X")
    elif kind is not bool:
        kind = str  # names with commas, or NAME=NUMBER with commas
    least = int(setting.least) if kind is int and setting.least is not None else None
    declared = typer.Option(
        option_of(name, setting, kind), help=setting.help, metavar=metavar, min=least, rich_help_panel=setting.panel
    )
    return Annotated[kind | None, declared]


# The keys of the recipe are the options: one field for each, None where the command line does not say it.
Lines = make_dataclass(
    "Lines",
    [(each.name, option(each.name, kind, setting), None) for each, kind, setting in settings(GrpoRecipe)],
    frozen=True,
    kw_only=True,
)


@flat
def train(training: Training, lines: Lines) -> None:  # type: ignore[valid-type]
    """Train a model on prepared datasets by a recipe: GRPO from rewards, or SFT from written answers.

    The command line wins over the recipe.
    """
    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.training.run_folder import algorithm_of

    if training.listed:
        _list(training.out or RUNS)
        return
    given = _assignments(training.settings or ())
    for each in fields(GrpoRecipe):
        value = getattr(lines, each.name)
        if value is not None:
            given[each.name] = _assignments(value.split(",")) if each.name in PAIRS else value
    if training.resume:
        if training.out is None:
            raise UsageError("give --out, the folder of the run to resume")
        # What runs there says how it goes on.
        training = _as_before(replace(training, algorithm=Algorithm(algorithm_of(training.out))))
    if training.algorithm is Algorithm.sft:
        _refuse_with_sft(given, training)
    if training.launch != DEFAULT_LAUNCH and not training.processes:
        raise UsageError("--launch is how several processes share the model; give --processes too")
    if training.processes and not training.dry_run and _launched(training):
        return
    if training.algorithm is Algorithm.sft:
        _sft(training, given)
    else:
        _grpo(training, given)


def _launched(training: Training) -> bool:
    """Run this command line in several processes, unless this is one of them or one is enough."""
    from qinsight_cli.core.training import launch
    from qinsight_cli.core.training.devices import processes

    wanted, config = launch.count(training.processes or ""), launch.config_file(training.launch)
    if wanted == 1 or processes() > 1:
        return False
    arguments = sys.argv[1:]
    if training.out is None:  # the same folder for all of them
        arguments += ["--out", str(training.folder)]
    code = launch.launch(arguments, wanted, config)
    if code:
        raise typer.Exit(code)
    return True


def _check_out(training: Training) -> None:
    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.training.devices import processes

    if training.out is None and processes() > 1:
        raise UsageError("give --out, the folder of the run")


def _list(folder: Path) -> None:
    from datetime import datetime

    from qinsight_cli.core.report.runs import runs_table
    from qinsight_cli.core.training.runs import find_runs

    found = find_runs(folder, datetime.now())
    if found:
        show(runs_table(found))
    else:
        say(f"no runs in {folder}")


def _sft(training: Training, given: dict[str, Any]) -> None:
    from qinsight_cli.core.training.datasets import collect
    from qinsight_cli.core.training.devices import is_main
    from qinsight_cli.core.training.recipe import load_sft
    from qinsight_cli.core.training.sft import run

    _check_out(training)
    chosen = load_sft(training.recipe or DEFAULT_RECIPE, given)
    samples, digests = collect(training.data, {name for phase in chosen.phases for name in phase.mix})
    if training.dry_run:
        write(run.describe(chosen, samples))
        return
    folder = training.folder
    names = ", ".join(str(one["data"]) for one in digests)
    if is_main():
        say(f"training {chosen.model} on {names}: {len(samples):,} rows, in {folder}")
    with _way_on(folder):
        final = run.run_sft(chosen, samples, folder, digests, training.resume)
    if is_main():
        write(str(final))


def _grpo(training: Training, given: dict[str, Any]) -> None:
    from qinsight_cli.core.training.datasets import collect, set_aside
    from qinsight_cli.core.training.devices import is_main
    from qinsight_cli.core.training.grpo import run
    from qinsight_cli.core.training.recipe import load_grpo

    _check_out(training)
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
    folder = training.folder
    if is_main():
        names = ", ".join(str(one["data"]) for one in digests if one["split"] == "train")
        say(f"training {chosen.model} on {names}: {len(samples):,} rows, in {folder}")
    with _way_on(folder):
        final = run.run_grpo(training_run, folder, training.resume)
    if is_main():
        write(str(final))


@contextmanager
def _way_on(folder: Path) -> Iterator[None]:
    """Ctrl-C says how the run goes on."""
    try:
        yield
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0" and (folder / "recipe.yaml").is_file():
            say(f"interrupted; go on with: qinsight train --resume --out {folder}")
        raise


def _as_before(training: Training) -> Training:
    """The recipe and the data of the run in --out unless the command line sets them."""
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

    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.training.recipe import read_yaml

    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = read_yaml(text)
        except yaml.YAMLError:
            value = None
        if not name.strip() or value is None:
            raise UsageError(f"{word!r} is not of the form NAME=VALUE")
        found[name.strip()] = value
    return found


def _refuse_with_sft(given: dict[str, Any], training: Training) -> None:
    from qinsight_cli.core.errors import UsageError

    refused = [name for name in given if name not in ("model", "seed", "report_to")]
    refused += ["eval_data"] if training.eval_data else []
    if refused:
        raise UsageError(f"{refused[0]} is a setting of --algorithm grpo; sft takes its settings from the recipe")
