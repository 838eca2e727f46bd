"""Options of jobs on a Ray cluster, and score, degrade and compare as such a job."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import written
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.inference.cache import OFF_VARIABLE
from qinsight_cli.core.storage import is_remote

if TYPE_CHECKING:
    from qinsight_cli.commands.options import Judging
    from qinsight_cli.core.inference.fleet import Fleet, Job, Unit
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
    """The command line with the address of a bare `--ray` filled in: no option of Typer has a value or none."""
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
            help="Run on a Ray cluster: the one that is there, else this machine; local; HOST:PORT; ray://HOST:PORT.",
        ),
    ] = None
    actors: Annotated[
        int, _option("--actors", min=1, metavar="N", help="Number of workers, each with a model of its own.")
    ] = 2
    gpus_per_actor: Annotated[float, _option("--gpus-per-actor", min=0.0, metavar="G", help="GPUs of each worker.")] = (
        0.0
    )

    def __post_init__(self) -> None:
        """Raises UsageError for what is no address, and for the other options without --ray."""
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
    parts: Annotated[Form, _option("--parts", help="The form of the files in --out.")] = Form.parquet

    def check(self, outputs: Sequence[str]) -> None:
        """Raises UsageError when it is not clear where the rows go."""
        if self.ray is None:
            if self.out is not None or self.parts is not Form.parquet:
                raise UsageError("--out and --parts are for a Ray cluster: give --ray too, or --csv FILE instead")
            return
        if outputs:
            raise UsageError("with --ray the rows go to --out DIR: leave out --csv, --jsonl and --html")
        if self.out is None:
            raise UsageError("--ray needs --out DIR, the folder of its results")


@dataclass(frozen=True)
class Asked:
    """What is asked of which model, in whose words (None: the task's own)."""

    task: Task
    model: str
    prompt: str | None


def judge(
    asked: Asked, units: Sequence[Unit], run: Judging, columns: Sequence[str], rows: Callable[..., dict[str, Any]]
) -> Counter[str]:
    """Ask about every unit on a cluster; `rows` makes the row of one. Returns the counts of `core.inference.fleet`."""
    from qinsight_cli.core.inference import fleet

    say(f"model: {asked.model}, on {run.fleet.actors} workers of Ray")
    job = job_of(asked, run, columns, rows)
    try:
        return fleet.run(job, units, run.fleet.fleet, run.output.restart, run.serving.readable, say).counts
    except KeyboardInterrupt:
        say(f"interrupted; run the same command again to go on with what is in {run.fleet.out}")
        raise


def job_of(asked: Asked, run: Judging, columns: Sequence[str], rows: Callable[..., dict[str, Any]]) -> Job:
    from qinsight_cli.core.inference.fleet import Job

    compute = run.compute
    return Job(
        task=asked.task,
        model=asked.model,
        decoding=run.answers.decoding,
        parts=parts_of(asked.task, str(run.fleet.out), run.fleet.parts.value, columns),
        rows=rows,
        device=compute.device,
        dtype=compute.dtype.value,
        max_pixels=compute.max_pixels,
        network=compute.network,
        served=run.serving.served,
        batch_size=run.serving.batch_size(compute),
        seed=run.answers.seed,
        prompt=asked.prompt,
        max_image_pixels=run.max_image_pixels,
        cached=not (run.output.no_cache or os.environ.get(OFF_VARIABLE)),
    )


def parts_of(task: Task, folder: str, form: str, columns: Sequence[str]) -> Any:
    """The parts of a job in a folder, whose name is made whole: workers may stand elsewhere."""
    from qinsight_cli.core.inference.part_files import Parts

    pictures = (*task.image_columns, *task.optional)
    numbers = (task.number, f"{task.number}_std", *(task.choices.columns if task.choices else ()))
    more = ("key", "model", "prompt_tokens", "completion_tokens", "notes", "unread")
    whole = folder if is_remote(folder) else os.path.abspath(folder)
    return Parts(whole, form, pictures, (*columns, *more), tuple(filter(None, numbers)))
