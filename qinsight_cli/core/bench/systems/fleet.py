"""Models as systems of the bench on a Ray cluster. Their answers are part files in the bench folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer, file_name
from qinsight_cli.core.bench.systems.model import ModelSystem, answer_of
from qinsight_cli.core.engines import ModelOptions
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.inference.fleet import Fleet, Job, run
from qinsight_cli.core.inference.part_files import Parts
from qinsight_cli.core.tasks import Task


def row_of(task: Task, results: Sequence[Result], model: str) -> dict[str, Any]:
    """One result -> a row with the unrounded answer. Runs on a worker."""
    (result,) = results
    answer = answer_of(task, result)
    names = {column: result.images.get(role) for column, role in task.image_columns.items()}
    return {**result.images, **names, "fields": json.dumps(dict(answer.fields)), "error": answer.error}


class FleetSystem(ModelSystem):
    """A model by name on the workers of a fleet."""

    def __init__(self, label: str, name: str, options: ModelOptions, fleet: Fleet) -> None:
        super().__init__(label, name, options)
        self._fleet = fleet

    def _ask(
        self, task: Task, items: Sequence[Mapping[str, str]], dataset: Dataset, settings: AnswerSettings
    ) -> list[RowAnswer]:
        pictures = (*task.image_columns, *task.optional)
        name = f"{file_name(self.label)}-{file_name(dataset.key)}-{task.name}"
        folder = (settings.folder / "ray" / name).absolute()
        parts = Parts(str(folder), "parquet", pictures, (*pictures, "fields", "error", "key"), ())
        settings.say(f"model: {self.label} on {dataset.key}, on {self._fleet.actors} workers of Ray")
        decoding, model = self._plain(settings.decoding), self._options.name_for(self.name, task)
        job = Job(task, model, decoding, parts, row_of, self._options, settings.batch_size, settings.seed)
        done = run(job, [[item] for item in items], self._fleet, settings.restart, settings.say)
        self._identities[model] = done.identity
        rows = {_pictures(row, pictures): row for row in parts.all_rows(["fields", "error"])}
        columns = {**task.image_columns, **{role: role for role in task.optional}}
        found = [rows[tuple(item.get(columns[column]) or "" for column in pictures)] for item in items]
        return [RowAnswer(json.loads(row["fields"]), row["error"]) for row in found]


def _pictures(row: Mapping[str, Any], pictures: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[column] or "" for column in pictures)
