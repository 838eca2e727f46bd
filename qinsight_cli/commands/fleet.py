"""Jobs on a Ray cluster: their options, and how score, degrade and compare run as one."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import written
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.inference.cache import OFF_VARIABLE
from qinsight_cli.core.storage import is_remote

if TYPE_CHECKING:
    from qinsight_cli.commands.options import Judging
    from qinsight_cli.core.inference.fleet import Fleet, Rows, Unit
    from qinsight_cli.core.inference.part_files import Parts
    from qinsight_cli.core.tasks import Task

PANEL = "Ray"
_option = partial(typer.Option, rich_help_panel=PANEL)
AUTO = "auto"
_ADDRESS = re.compile(r"auto|local|ray://\S+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


class Form(StrEnum):
    parquet = "parquet"
    csv = "csv"
    jsonl = "jsonl"


def with_address(arguments: Sequence[str]) -> list[str]:
    """The command line with an address for a bare `--ray`, since Typer has no option with an optional value."""
    found = list(arguments)
    for place, argument in enumerate(found):
        if argument == "--":
            break
        if argument == "--ray" and not _ADDRESS.fullmatch((found[place + 1 : place + 2] or [""])[0]):
            found[place] = f"--ray={AUTO}"
    return found


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Where a job runs."""

    ray: Annotated[
        str | None,
        _option(
            "--ray",
            metavar="[ADDRESS]",
            help="Run on a Ray cluster: a running one, else this machine; local; HOST:PORT; ray://HOST:PORT.",
        ),
    ] = None
    actors: Annotated[
        int, _option("--actors", min=1, metavar="N", help="Number of workers, each with its own model.")
    ] = 2
    gpus_per_actor: Annotated[float, _option("--gpus-per-actor", min=0.0, metavar="G", help="GPUs of each worker.")] = (
        0.0
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a wrong address, and for the other options without --ray."""
        if self.ray is None:
            for option, given in (("--actors", self.actors != 2), ("--gpus-per-actor", self.gpus_per_actor != 0.0)):
                if given:
                    raise UsageError(f"{option} is for a Ray cluster: give --ray too")
        elif not _ADDRESS.fullmatch(self.ray):
            raise UsageError(f"--ray {self.ray}: give auto, local, HOST:PORT or ray://HOST:PORT")

    @property
    def fleet(self) -> Fleet:
        from qinsight_cli.core.inference.fleet import Fleet

        return Fleet(self.ray or AUTO, self.actors, self.gpus_per_actor)


@dataclass(frozen=True, kw_only=True)
class FleetJob(Ray):
    """Where a job runs, and the folder of its results."""

    out: Annotated[
        str | None,
        written(
            "--out",
            metavar="DIR",
            help="The folder of the results, shared by all machines, or s3:// or gs://.",
            rich_help_panel=PANEL,
        ),
    ] = None
    parts: Annotated[Form, _option("--parts", help="The format of the files in --out.")] = Form.parquet

    def check(self, outputs: Sequence[str]) -> None:
        """Raises UsageError unless the rows go either to --out or to `outputs`, as --ray decides."""
        if self.ray is None:
            if self.out is not None or self.parts is not Form.parquet:
                raise UsageError("--out and --parts are for a Ray cluster: give --ray too, or --csv FILE instead")
            return
        if outputs:
            raise UsageError("with --ray the rows go to --out DIR: leave out --csv, --jsonl and --html")
        if self.out is None:
            raise UsageError("--ray needs --out DIR, the folder of its results")


def judge(
    task: Task, prompt: str | None, units: Sequence[Unit], run: Judging, columns: Sequence[str], rows: Rows
) -> Counter[str]:
    """Ask about every unit on a cluster. `rows` makes the row of a unit. Returns the counts of `Finished`."""
    from qinsight_cli.core.inference import fleet

    options = run.compute.options(run.serving)
    model = options.name_for(run.model, task)
    say(f"model: {model}, on {run.fleet.actors} workers of Ray")
    job = fleet.Job(
        task=task,
        model=model,
        decoding=run.answers.decoding,
        parts=_parts(task, run.fleet, columns),
        rows=rows,
        options=options,
        batch_size=run.serving.batch_size(run.compute),
        seed=run.answers.seed,
        prompt=prompt,
        max_image_pixels=run.max_image_pixels,
        cached=not (run.output.no_cache or os.environ.get(OFF_VARIABLE)),
    )
    try:
        return fleet.run(job, units, run.fleet.fleet, run.output.restart, say).counts
    except KeyboardInterrupt:
        say(f"interrupted: run the same command again to resume from {run.fleet.out}")
        raise


def _parts(task: Task, fleet: FleetJob, columns: Sequence[str]) -> Parts:
    """The part files of a job. Their folder is absolute, because workers may run in another one."""
    from qinsight_cli.core.inference.part_files import Parts

    pictures = (*task.image_columns, *task.optional)
    numbers = (task.number, f"{task.number}_std", *(task.choices.columns if task.choices else ()))
    more = ("key", "model", "prompt_tokens", "completion_tokens", "notes", "unread")
    folder = str(fleet.out)
    folder = folder if is_remote(folder) else os.path.abspath(folder)
    return Parts(folder, fleet.parts.value, pictures, (*columns, *more), tuple(filter(None, numbers)))
