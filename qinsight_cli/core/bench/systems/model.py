"""Models as systems of the bench: every question goes through `assess`, every answer into a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer, split_label
from qinsight_cli.core.engines import LEVEL_WORD_PREFIX, Decoding, Engine, ModelOptions, engine_of, load
from qinsight_cli.core.inference.aggregate import aggregate
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS, Task


class ModelSystem:
    """A model by name, which is loaded for the first question."""

    def __init__(self, label: str, name: str, options: ModelOptions) -> None:
        self.label, self.name, self.note = label, name, ""
        self._options = options
        self._decoding: Decoding | None = None
        self._engine: Engine | None = None
        self._loaded_name = ""
        self._identities: dict[str, Mapping[str, Any]] = {}
        self._by_level_words = options.served is None and engine_of(name)[0] == LEVEL_WORD_PREFIX
        if self._by_level_words:
            self.note = f"{label}: expectation over the probabilities of the level words, excellent to bad."

    def refusal(self, dataset: Dataset) -> str | None:
        if self._by_level_words and not TASKS[dataset.task].number:
            return f"{self.label} rates by level words and gives only scores; {dataset.key} needs {dataset.task}"
        return None

    def answers(self, dataset: Dataset, settings: AnswerSettings) -> list[RowAnswer]:
        items = [{role: str(path) for role, path in sample.images.items()} for sample in dataset.samples]
        task = TASKS[dataset.task].styled(settings.style)
        if not (task.parts and settings.sequential):
            return self._ask(task, items, dataset, settings)
        each = [self._ask(part, items, dataset, settings) for part in task.parts]
        return [_combined(task, answers) for answers in zip(*each, strict=True)]

    def _ask(
        self, task: Task, items: Sequence[Mapping[str, str]], dataset: Dataset, settings: AnswerSettings
    ) -> list[RowAnswer]:
        engine = self._loaded(settings, task)
        if self._decoding is None:
            self._decoding = self._options.supported(settings.decoding, engine.reads_choices, settings.say)
        decoding = self._plain(self._decoding)
        fingerprint = settings_of(task, engine.identity, decoding, settings.seed)
        journal = Journal(settings.journal(self.label, dataset, task.name), fingerprint, settings.restart)
        with journal, settings.progress(f"{self.label} on {dataset.key}", len(items)) as advance:
            if len(journal):
                settings.say(f"resuming: {len(journal)} answers are in {journal.path}")
            answers = []
            for result in assess(
                task,
                items,
                engine,
                decoding,
                batch_size=settings.batch_size,
                seed=settings.seed,
                journal=journal,
                on_interrupt=lambda: settings.say("finishing this batch; Ctrl-C again to stop at once"),
                say=settings.say,
            ):
                answers.append(answer_of(task, result))
                advance()
            return answers

    def _plain(self, decoding: Decoding) -> Decoding:
        """Level words are read in one way, whatever the decoding of other systems."""
        return replace(decoding, rating="answer", mode="reasoned") if self._by_level_words else decoding

    def _loaded(self, settings: AnswerSettings, task: Task) -> Engine:
        """The engine for a task. A release with weights for each kind of task is loaded again for another kind."""
        name = self._options.name_for(self.name, task)
        if self._engine is None or name != self._loaded_name:
            self._engine, self._loaded_name = None, name
            settings.say(f"model: {self.label}" if self.label == name else f"model: {self.label} ({name})")
            self._engine = load(name, self._options, settings.say)
            self._identities[name] = self._engine.identity
        return self._engine

    def facts(self) -> dict[str, Any]:
        """The identity of the weights; of each, if there were several."""
        found = list(self._identities.values())
        more = dict(found[0]) if len(found) == 1 else {"weights": dict(self._identities)} if found else {}
        return {"kind": "model", "name": self.name, **more}

    def close(self) -> None:
        self._engine = None


def answer_of(task: Task, result: Result) -> RowAnswer:
    aggregated = aggregate(task, result)
    return RowAnswer(aggregated.fields, aggregated.error, aggregated.reasoning)


def _combined(task: Task, each: Sequence[RowAnswer]) -> RowAnswer:
    """The answers to the parts of a task -> the answer to the task; the first error, if there is one."""
    failed = next((answer for answer in each if answer.error is not None), None)
    return failed or RowAnswer(task.combined([answer.fields for answer in each]))


def parse_label(argument: str) -> tuple[str, str]:
    """`LABEL=NAME` or `NAME` -> (label, name). The name of an existing folder may contain "="."""
    label, name = ("", argument) if Path(argument).exists() else split_label(argument)
    if label:
        return label, name
    return (Path(name).name if Path(name).is_dir() else name) or name, name
