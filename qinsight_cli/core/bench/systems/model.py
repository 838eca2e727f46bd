"""Models as systems of the bench: every question through `assess`, every answer in a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import Asking, Said
from qinsight_cli.core.engines import Engine
from qinsight_cli.core.inference.aggregate import settle
from qinsight_cli.core.inference.assess import assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS, Task
from qinsight_cli.core.tasks.degradation import DISTORTIONS
from qinsight_cli.core.tasks.single_distortion import combine, question

LEVELS = "deqa:"  # a model name that begins so is rated by its level words


class Model:
    """A model by name; it is loaded when it is first asked."""

    def __init__(self, label: str, name: str, device: str, dtype: str, max_pixels: int | None) -> None:
        self.label, self.name = label, name
        self.note = ""
        self._settings = (device, dtype, max_pixels)
        self._engine: Engine | None = None
        self._identity: Mapping[str, Any] = {}
        if self.by_levels:
            self.note = f"{label}: expectation over the probabilities of the level words, excellent to bad."

    @property
    def by_levels(self) -> bool:
        return self.name.startswith(LEVELS)

    def refusal(self, dataset: Dataset) -> str | None:
        if self.by_levels and dataset.task != "score":
            return f"{self.label} reads level words, which are for scores; {dataset.key} asks for {dataset.task}"
        return None

    def answers(self, dataset: Dataset, asking: Asking) -> list[Said]:
        items = [{role: str(path) for role, path in sample.images.items()} for sample in dataset.samples]
        if dataset.task == "degradation" and asking.sequential:
            return self._one_by_one(items, dataset, asking)
        return self._ask(TASKS[dataset.task], items, dataset, asking)

    def _one_by_one(self, items: Sequence[Mapping[str, str]], dataset: Dataset, asking: Asking) -> list[Said]:
        asked = [self._ask(question(distortion), items, dataset, asking) for distortion in DISTORTIONS]
        return [_combined(each) for each in zip(*asked, strict=True)]

    def _ask(self, task: Task, items: Sequence[Mapping[str, str]], dataset: Dataset, asking: Asking) -> list[Said]:
        engine = self._loaded(asking)
        settings = settings_of(task, engine, asking.decoding, asking.seed)
        journal = Journal(asking.journal(self.label, dataset, task.name), settings, asking.restart)
        with journal, asking.progress(f"{self.label} on {dataset.key}", len(items)) as advance:
            if len(journal):
                asking.say(f"going on: {len(journal)} answers are in {journal.path}")
            said = []
            for result in assess(
                task,
                items,
                engine,
                asking.decoding,
                batch_size=asking.batch_size,
                seed=asking.seed,
                journal=journal,
                on_interrupt=lambda: asking.say("finishing this batch; Ctrl-C again to stop at once"),
            ):
                verdict = settle(task, result.answers) if result.error is None else None
                error = result.error if verdict is None else verdict.error
                said.append(Said(verdict.fields if verdict and error is None else {}, error))
                advance()
            return said

    def _loaded(self, asking: Asking) -> Engine:
        if self._engine is None:
            asking.say(f"model: {self.label}" if self.label == self.name else f"model: {self.label} ({self.name})")
            if self.by_levels:
                from qinsight_cli.core.engines.level_words import load_level_engine

                self._engine = load_level_engine(self.name.removeprefix(LEVELS), *self._settings)
            else:
                from qinsight_cli.core.engines import local

                self._engine = local.load_engine(self.name, *self._settings)
            self._identity = self._engine.identity
        return self._engine

    def facts(self) -> dict[str, Any]:
        return {"kind": "model", "name": self.name, **self._identity}

    def close(self) -> None:
        self._engine = None


def _combined(each: Sequence[Said]) -> Said:
    unread = next((said for said in each if said.error is not None), None)
    return unread or Said(combine([said.fields["severity"] for said in each]))


def parse_label(argument: str) -> tuple[str, str]:
    """`LABEL=NAME` or `NAME` -> (label, name). A folder whose name holds "=" is taken as it is."""
    label, equals, name = argument.partition("=")
    if not equals or Path(argument).exists():
        shown = Path(argument).name if Path(argument).is_dir() else argument
        return shown or argument, argument
    return label.strip() or name, name
