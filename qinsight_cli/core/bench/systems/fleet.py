"""Models as systems of the bench, asked on a Ray cluster; their answers are parts in the bench folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer, file_name
from qinsight_cli.core.bench.systems.model import ModelSystem, answer_of
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.inference.part_files import Parts
from qinsight_cli.core.models.names import for_task
from qinsight_cli.core.tasks import Task


def row_of(task: Task, results: Sequence[Result], model: str) -> dict[str, Any]:
    """One result -> a row that keeps the answer as it is, on a worker."""
    (result,) = results
    answer = answer_of(task, result)
    names = {column: result.images.get(role) for column, role in task.image_columns.items()}
    return {**result.images, **names, "fields": json.dumps(dict(answer.fields)), "error": answer.error}


class FleetSystem(ModelSystem):
    """A model by name on the workers of `fleet`."""

    fleet: Any = None

    def _ask(
        self, task: Task, items: Sequence[Mapping[str, str]], dataset: Dataset, settings: AnswerSettings
    ) -> list[RowAnswer]:
        from qinsight_cli.core.inference.fleet import Job, run

        pictures = (*task.image_columns, *task.optional)
        name = f"{file_name(self.label)}-{file_name(dataset.key)}-{task.name}"
        folder = (settings.folder / "ray" / name).absolute()
        parts = Parts(str(folder), "parquet", pictures, (*pictures, "fields", "error", "key"), ())
        device, dtype, max_pixels, network, served = self._load_options
        settings.say(f"model: {self.label} on {dataset.key}, on {self.fleet.actors} workers of Ray")
        decoding = self._plain(settings.decoding)
        model = self.name if served is not None else for_task(self.name, task.folder)
        job = Job(task, model, decoding, parts, row_of, device, dtype, max_pixels, network, served)
        job = job.with_more(batch_size=settings.batch_size, seed=settings.seed)
        done = run(job, [[item] for item in items], self.fleet, settings.restart, self._readable, settings.say)
        self._identities[model] = done.identity
        rows = {_pictures(row, pictures): row for row in parts.all_rows(["fields", "error"])}
        columns = {**task.image_columns, **{role: role for role in task.optional}}
        found = [rows[tuple(item.get(columns[column]) or "" for column in pictures)] for item in items]
        return [RowAnswer(json.loads(row["fields"]), row["error"]) for row in found]


def _pictures(row: Mapping[str, Any], pictures: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[column] or "" for column in pictures)
