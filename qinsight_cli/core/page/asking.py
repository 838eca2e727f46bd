"""Questions of the page, one at a time, through `assess` as `qinsight score` asks, heard while they are answered."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qinsight_cli.core.engines import Completion, Decoding, Engine
from qinsight_cli.core.images import MAX_PIXELS
from qinsight_cli.core.inference.assess import Result, assess
from qinsight_cli.core.inference.distributions import choices_of
from qinsight_cli.core.inference.prefetch import Item
from qinsight_cli.core.report.gallery.cards import Card, card_of
from qinsight_cli.core.report.rows import row_of
from qinsight_cli.core.tasks import ParseFailure, Task

PACE = 0.1  # seconds between two looks at what is being written
KEPT = 64  # answers that are not asked for again


@dataclass(frozen=True)
class Answered:
    """One answer: `shares` of a rating's distribution, rating -> probability; `chances` beside words that were read off
    their probabilities. `broken` when there was nothing to answer: a picture that cannot be used, a failing model."""

    card: Card
    shares: Mapping[float, float] = field(default_factory=dict)
    chances: Mapping[str, float] = field(default_factory=dict)
    broken: bool = False


class _Gone(BaseException):
    """Nobody waits for the answer any more. No exception of a model, which would be the picture's error."""


class _Heard:
    """An engine that remembers the completions of its last batch, whose probabilities no result keeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.last: Sequence[Completion] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, batch: Any, decoding: Decoding) -> Any:
        found = self._engine.generate(batch, decoding)
        self.last = found[0] if isinstance(found[0], list) else ()
        return found


class Asker:
    """Asks one question at a time, whoever asks; the others wait. Answers to the same files are remembered."""

    def __init__(
        self,
        load: Callable[[Task], tuple[Engine, Decoding]],
        seed: int = 0,
        max_image_pixels: int = MAX_PIXELS,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        """load: the engine for a task and how it is asked; called for each question, in any thread, one at a time."""
        self._load, self._seed, self._say = load, seed, say
        self.max_image_pixels = max_image_pixels
        self._turn, self._closed = threading.Lock(), threading.Event()
        self._known: dict[tuple[Any, ...], Answered] = {}

    def ask(self, task: Task, item: Item) -> Iterator[str | Answered]:
        """What the model has written so far, again and again, and at the end its answer.

        Raises QInsightError when the model cannot be loaded or used. A question that is given up stops the model.
        """
        question = (task.name, *sorted(item.items()))
        if question in self._known:
            yield self._known[question]
            return
        heard: queue.SimpleQueue[str | Answered | Exception] = queue.SimpleQueue()
        gone = threading.Event()

        def hear(text: str) -> None:
            if gone.is_set() or self._closed.is_set():
                raise _Gone
            heard.put(text)

        def work() -> None:
            try:
                with self._turn:
                    hear("")
                    heard.put(self._answer(task, item, hear))
            except Exception as error:
                heard.put(error)
            except _Gone:
                heard.put(InterruptedError("the page is closed"))

        threading.Thread(target=work, name="qinsight-page", daemon=True).start()
        try:
            while True:
                found = _newest(heard)
                if isinstance(found, Exception):
                    raise found
                if isinstance(found, Answered):
                    self._keep(question, found)
                yield found
                if isinstance(found, Answered):
                    return
                time.sleep(PACE)
        finally:
            gone.set()

    def close(self) -> None:
        """Stop the model, and wait until it has stopped."""
        self._closed.set()
        with self._turn:
            return

    def _keep(self, question: tuple[Any, ...], answer: Answered) -> None:
        if answer.broken:  # a failing model may do better next time
            return
        self._known[question] = answer
        while len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)), None)

    def _answer(self, task: Task, item: Item, hear: Callable[[str], None]) -> Answered:
        engine, decoding = self._load(task)
        heard = _Heard(engine)
        if hasattr(engine, "listener"):
            engine.listener = hear
        try:
            (result,) = assess(
                *(task, [item], heard, decoding),
                batch_size=1,
                seed=self._seed,
                max_image_pixels=self.max_image_pixels,
                say=self._say,
            )
        finally:
            if hasattr(engine, "listener"):
                engine.listener = None
        row = row_of(task, result, str(engine.identity.get("model", "")))
        columns = task.choices.columns if task.choices else ()
        return Answered(
            card=card_of(task, row),
            shares=shares_of(task, engine, decoding, result, heard.last),
            chances={name: float(row[name]) for name in columns if row.get(name) is not None},
            broken=result.error is not None,
        )


def _newest(heard: queue.SimpleQueue[Any]) -> Any:
    """The last of what is there, waiting for the first."""
    found = heard.get()
    while not heard.empty():
        found = heard.get()
    return found


def shares_of(
    task: Task, engine: Engine, decoding: Decoding, result: Result, completions: Sequence[Completion]
) -> dict[float, float]:
    """The distribution of a task's number, summing to 1: what the model gives each, the mean over the samples; or how
    often each was drawn, where probabilities are not read. Empty for words, for an error, and for one number."""
    read = [each for each in result.answers if not isinstance(each, ParseFailure)]
    if not task.number or not read:
        return {}
    total: dict[float, float] = defaultdict(float)
    choices = choices_of(task, engine, decoding)
    if choices is None:
        if len(result.answers) > 1:
            for answer in read:
                total[round(task.fields(answer)[task.number], 1)] += 1.0
    else:
        for completion, answer in zip(completions, result.answers, strict=True):
            if completion.probabilities is None or isinstance(answer, ParseFailure):
                continue
            mass = sum(completion.probabilities)
            for choice, probability in zip(choices.answers.values(), completion.probabilities, strict=True):
                total[round(task.fields(choice)[task.number], 1)] += probability / mass
    whole = sum(total.values())
    return {value: share / whole for value, share in sorted(total.items())}
