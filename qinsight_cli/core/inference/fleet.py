"""One job on many machines: Ray Data streams the list of pictures to a pool of actors, each with its own engine.

Each actor writes its results as part files. Ray restarts actors or gives their work to others; a part has the same name
whoever writes it. Only names travel through Ray; each actor reads its own pictures.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from qinsight_cli.core.engines import Decoding, Engine, ModelOptions, load
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import MAX_PIXELS, read_image
from qinsight_cli.core.inference.assess import Result, Reuse, assess, settings_of
from qinsight_cli.core.inference.cache import AnswerCache, scope_of
from qinsight_cli.core.inference.part_files import Parts, row_id
from qinsight_cli.core.inference.prefetch import Item, key_of
from qinsight_cli.core.tasks.base import Task

INSTALL = "--ray needs Ray: pip install 'qinsight[ray]'"
LARGEST_PART = 256  # units: the most work that is lost with a worker
PARTS_EACH = 8  # the least parts per actor, so that a slow actor does not delay the end
TOKEN = "a cluster that asks for a token needs RAY_AUTH_MODE=token, and its token in ~/.ray/auth_token"
PATIENCE = 5.0  # seconds for an address to answer

Unit = Sequence[Item]  # the questions whose results make one row
Rows = Callable[[Task, Sequence[Result], str], dict[str, Any]]  # task, results of a unit, name of the model -> a row


@dataclass(frozen=True)
class Job:
    """The work of every actor.

    cached  whether each machine uses its own cache of answers
    folder  the working directory, for relative names
    """

    task: Task
    model: str
    decoding: Decoding
    parts: Parts
    rows: Rows
    options: ModelOptions = field(default_factory=ModelOptions)
    batch_size: int | None = None
    seed: int = 0
    prompt: str | None = None
    max_image_pixels: int = MAX_PIXELS
    cached: bool = False
    folder: str = field(default_factory=os.getcwd)

    def engine(self) -> Engine:
        with suppress(OSError):  # a machine without this folder can still use absolute names
            os.chdir(self.folder)
        return load(self.model, self.options)

    def settings(self, identity: dict[str, Any]) -> dict[str, Any]:
        return settings_of(self.task, identity, self.decoding, self.seed, self.prompt)


@dataclass(frozen=True)
class Fleet:
    """Where a job runs.

    address  "auto" (a running cluster, else this machine), "local", host:port of a cluster's head, or ray://host:port
    gpus     GPUs for each actor; may be a fraction
    """

    address: str = "auto"
    actors: int = 2
    gpus: float = 0.0


@dataclass(frozen=True)
class Finished:
    """The outcome of a job: counts of "rows", "errors", "unanswered" and agreements, and the engine's identity."""

    counts: Counter[str]
    identity: dict[str, Any]


class Judge:
    """One actor."""

    def __init__(self, job: Job, done: Any) -> None:
        """done: a Ray reference to the ids of the rows that an earlier run has written."""
        import ray

        self._job, self._done = job, ray.get(done)
        self._engine = job.engine()
        scope = scope_of(job.settings(self._engine.identity), job.max_image_pixels) if job.cached else None
        self._reuse = Reuse(None if scope is None else AnswerCache(scope, lambda words: None))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Judge the units of a batch and write their parts -> the counts. "failure" is an error that stops the job."""
        try:
            counts = self._judge([json.loads(unit) for unit in batch["unit"]])
            return {"counts": [json.dumps(counts)], "failure": [""]}
        except QInsightError as error:
            return {"counts": ["{}"], "failure": [str(error)]}

    def _judge(self, units: list[Unit]) -> dict[str, int]:
        job, counts = self._job, Counter[str]()
        units = [unit for unit in units if not self._is_done(unit)]
        results = assess(
            job.task,
            [item for unit in units for item in unit],
            self._engine,
            job.decoding,
            batch_size=job.batch_size,
            seed=job.seed,
            prompt=job.prompt,
            max_image_pixels=job.max_image_pixels,
            reuse=self._reuse,
        )
        whole: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for unit in units:
            own = [next(results) for _ in unit]
            row = {**job.rows(job.task, own, str(self._engine.identity["model"])), "key": own[0].key}
            (failed if any(result.error is not None for result in own) else whole).append(row)
            counts.update(["rows", *(["errors"] if row["error"] is not None else [])])
            counts["unanswered"] += any(result.unanswered for result in own)
            if row.get("agreement"):
                counts[row["agreement"]] += 1
        next(results, None)
        job.parts.write(whole)
        job.parts.write(failed, errors=True)
        return dict(counts)

    def _is_done(self, unit: Unit) -> bool:
        """Whether an earlier run has written the row of these pictures. Reads them only if there are rows."""
        if not len(self._done):
            return False
        import numpy as np

        task, item = self._job.task, unit[0]
        try:
            key = key_of({role: read_image(item[role])[1] for role in task.order(item)})
        except ImageError:
            return False
        names = {**item, **{column: item.get(role) for column, role in task.image_columns.items()}, "key": key}
        own = np.uint64(row_id(names, self._job.parts.pictures))
        place = int(np.searchsorted(self._done, own))
        return place < len(self._done) and bool(self._done[place] == own)


def run(
    job: Job,
    units: Sequence[Unit],
    fleet: Fleet,
    restart: bool,
    say: Callable[[str], None],
) -> Finished:
    """Judge every unit whose row is not yet in the folder of the job.

    One worker loads the model first, so that an error of it is one line and its identity can be compared with that of
    the folder. Raises QInsightError if Ray is missing or does not answer, the folder belongs to another job, the model
    cannot be loaded, or no server answers any more.
    """
    ray = connect(fleet.address)
    try:
        probe = ray.remote(num_gpus=fleet.gpus, max_retries=1)(_facts)
        found = ray.get(probe.remote(job))
        if "failure" in found:
            raise QInsightError(found["failure"])
        for note in found["notes"]:
            say(note)
        job = replace(job, decoding=job.options.supported(job.decoding, found["reads_choices"], say))
        settings = {**job.settings(found["identity"]), "max_image_pixels": job.max_image_pixels}
        job.parts.claim(settings, restart)
        done = job.parts.done(say)
        if len(done):
            say(f"resuming: {len(done)} rows are in {job.parts.folder}")
        return Finished(_stream(ray, job, units, fleet, done), found["identity"])
    except ray.exceptions.RayError as error:
        raise QInsightError(f"Ray: {_first_line(error)}") from None
    finally:
        ray.shutdown()


def _facts(job: Job) -> dict[str, Any]:
    """What a worker reports about its engine."""
    try:
        engine = job.engine()
    except QInsightError as error:
        return {"failure": str(error)}
    return {"identity": engine.identity, "reads_choices": engine.reads_choices, "notes": list(engine.notes)}


def _stream(ray: Any, job: Job, units: Sequence[Unit], fleet: Fleet, done: Any) -> Counter[str]:
    import pyarrow
    from ray.data import ActorPoolStrategy, from_arrow

    reference = ray.put(done)  # kept until the end, because a restarted actor needs it again
    size = max(1, min(LARGEST_PART, -(-len(units) // (fleet.actors * PARTS_EACH))))
    named = [json.dumps([dict(item) for item in unit]) for unit in units]
    tables = [pyarrow.table({"unit": named[start : start + size]}) for start in range(0, len(named), size)]
    counted = from_arrow(tables).map_batches(
        Judge,
        fn_constructor_args=(job, reference),
        batch_size=None,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=fleet.actors),
        num_cpus=1,
        num_gpus=fleet.gpus or None,
    )
    counts: Counter[str] = Counter()
    for row in counted.iter_rows():
        if row["failure"]:
            raise QInsightError(row["failure"])
        counts.update(json.loads(row["counts"]))
    return counts


def connect(address: str) -> Any:
    """Ray, connected. Raises QInsightError if it is missing, or nothing answers at the address in time."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise QInsightError(INSTALL) from None
    if address not in ("auto", "local"):
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            _check_grpc(host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            words = f"--ray {address}: no Ray answers there ({why}); check the address, or start Ray with `ray start`"
            raise QInsightError(words) from None
    try:
        more = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=None if address == "auto" else address, log_to_driver=False, logging_level="error", **more)
    except Exception as error:
        way = "" if address == "local" or os.environ.get("RAY_AUTH_MODE") else f"; {TOKEN}"
        raise QInsightError(f"--ray {address}: {_first_line(error)}{way}") from None
    return ray


def _check_grpc(host: str, port: int) -> None:
    """Raise OSError unless a gRPC server answers, as Ray is one: Ray itself would wait for minutes.

    The first frame of a server of HTTP/2 is SETTINGS, whose type is 4.
    """
    settings = bytes(3) + b"\x04" + bytes(5)
    with socket.create_connection((host, port), PATIENCE) as there:
        if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
            there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
            if there.makefile("rb").read(4)[3:] != b"\x04":
                raise OSError("another kind of server does")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
