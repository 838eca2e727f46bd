"""Models as systems of the bench: every question through `assess`, every answer in a journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer, split_label
from qinsight_cli.core.engines import LEVEL_WORD_PREFIX, PLAIN, Decoding, Engine, Served, engine_of, load
from qinsight_cli.core.inference.aggregate import aggregate_answers
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.models.names import for_task
from qinsight_cli.core.models.placement import NetworkOptions
from qinsight_cli.core.tasks import TASKS, Task


class ModelSystem:
    """A model by name; it is loaded when it is first asked."""

    def __init__(
        self,
        label: str,
        name: str,
        device: str,
        dtype: str,
        max_pixels: int | None,
        network: NetworkOptions = PLAIN,
        served: Served | None = None,
        readable: Callable[[Decoding, Engine, Callable[[str], None]], Decoding] = lambda decoding, *_: decoding,
    ) -> None:
        """readable: the decoding, the engine and `say` -> the decoding that this engine can do."""
        self.label, self.name = label, name
        self.note = ""
        self._load_options = (device, dtype, max_pixels, network, served)
        self._readable = readable
        self._decoding: Decoding | None = None
        self._engine: Engine | None = None
        self._name = ""
        self._identities: dict[str, Mapping[str, Any]] = {}
        if self.by_level_words:
            self.note = f"{label}: expectation over the probabilities of the level words, excellent to bad."

    @property
    def by_level_words(self) -> bool:
        return self._load_options[-1] is None and engine_of(self.name)[0] == LEVEL_WORD_PREFIX

    def refusal(self, dataset: Dataset) -> str | None:
        if self.by_level_words and not TASKS[dataset.task].number:
            return f"{self.label} reads level words, which are for scores; {dataset.key} asks for {dataset.task}"
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
            self._decoding = self._readable(settings.decoding, engine, settings.say)
        decoding = self._plain(self._decoding)
        fingerprint = settings_of(task, engine, decoding, settings.seed)
        journal = Journal(settings.journal(self.label, dataset, task.name), fingerprint, settings.restart)
        with journal, settings.progress(f"{self.label} on {dataset.key}", len(items)) as advance:
            if len(journal):
                settings.say(f"going on: {len(journal)} answers are in {journal.path}")
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
        """Level words are read in one way, whatever the other systems are asked."""
        return replace(decoding, rating="answer", mode="reasoned") if self.by_level_words else decoding

    def _loaded(self, settings: AnswerSettings, task: Task) -> Engine:
        """The engine; a release with weights for each kind of task is loaded anew for another kind."""
        name = self.name if self._load_options[-1] is not None else for_task(self.name, task.folder)
        if self._engine is None or name != self._name:
            self._engine, self._name = None, name
            settings.say(f"model: {self.label}" if self.label == name else f"model: {self.label} ({name})")
            self._engine = load(name, *self._load_options, settings.say)
            for note in getattr(self._engine, "notes", ()):
                settings.say(note)
            self._identities[name] = self._engine.identity
        return self._engine

    def facts(self) -> dict[str, Any]:
        """With several folders of weights, the identity of each."""
        found = list(self._identities.values())
        more = dict(found[0]) if len(found) == 1 else {"weights": dict(self._identities)} if found else {}
        return {"kind": "model", "name": self.name, **more}

    def close(self) -> None:
        self._engine = None


def answer_of(task: Task, result: Result) -> RowAnswer:
    if result.error is not None:
        return RowAnswer({}, result.error)
    aggregated = aggregate_answers(task, result.answers, result.distributions)
    return RowAnswer(aggregated.fields, aggregated.error, aggregated.reasoning)


def _combined(task: Task, each: Sequence[RowAnswer]) -> RowAnswer:
    unread = next((answer for answer in each if answer.error is not None), None)
    return unread or RowAnswer(task.combined([answer.fields for answer in each]))


def parse_label(argument: str) -> tuple[str, str]:
    """`LABEL=NAME` or `NAME` -> (label, name). The name of an existing folder may contain "="."""
    label, name = ("", argument) if Path(argument).exists() else split_label(argument)
    if label:
        return label, name
    return (Path(name).name if Path(name).is_dir() else name) or name, name
