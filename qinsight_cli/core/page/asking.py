"""The questions of the page: one at a time, through `assess`, with the text so far while the model writes."""

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

PACE = 0.1  # seconds between two updates of the text
KEPT = 64  # answers in memory


@dataclass(frozen=True)
class Answered:
    """One answer.

    shares   rating -> probability, for an answer with a distribution of the rating
    chances  name -> probability, for words that were read from their probabilities
    broken   there is no answer, because of an unusable picture or a failing model
    """

    card: Card
    shares: Mapping[float, float] = field(default_factory=dict)
    chances: Mapping[str, float] = field(default_factory=dict)
    broken: bool = False


class _Cancelled(BaseException):
    """Nobody waits for the answer any more. Not an Exception, which would count as an error of the picture."""


class _Recorded:
    """An engine that keeps the completions of its last batch, because results have no probabilities."""

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
    """Asks one question at a time, for all visitors. It remembers the answers to the same files."""

    def __init__(
        self,
        load: Callable[[Task], tuple[Engine, Decoding]],
        seed: int = 0,
        max_image_pixels: int = MAX_PIXELS,
        say: Callable[[str], None] = lambda words: None,
        style: str = "paper",
    ) -> None:
        """load: a task -> its engine and decoding; called for each question, in any thread, one at a time.
        style: of the prompts, as in `Task.styled`."""
        self._load, self._seed, self._say, self._style = load, seed, say, style
        self.max_image_pixels = max_image_pixels
        self._turn, self._closed = threading.Lock(), threading.Event()
        self._known: dict[tuple[Any, ...], Answered] = {}

    def ask(self, task: Task, item: Item) -> Iterator[str | Answered]:
        """The text so far, again and again, and at the end the answer.

        Raises QInsightError if the model cannot be loaded or used. Closing the iterator stops the model.
        """
        question = (task.name, *sorted(item.items()))
        if question in self._known:
            yield self._known[question]
            return
        updates: queue.SimpleQueue[str | Answered | Exception] = queue.SimpleQueue()
        cancelled = threading.Event()

        def listen(text: str) -> None:
            if cancelled.is_set() or self._closed.is_set():
                raise _Cancelled
            updates.put(text)

        def work() -> None:
            try:
                with self._turn:
                    listen("")
                    updates.put(self._answer(task, item, listen))
            except Exception as error:
                updates.put(error)
            except _Cancelled:
                updates.put(InterruptedError("the page is closed"))

        threading.Thread(target=work, name="qinsight-page", daemon=True).start()
        try:
            while True:
                found = _newest(updates)
                if isinstance(found, Exception):
                    raise found
                if isinstance(found, Answered):
                    self._keep(question, found)
                yield found
                if isinstance(found, Answered):
                    return
                time.sleep(PACE)
        finally:
            cancelled.set()

    def close(self) -> None:
        """Stop the model and wait for its end."""
        self._closed.set()
        with self._turn:
            return

    def _keep(self, question: tuple[Any, ...], answer: Answered) -> None:
        if answer.broken:  # a failing model may answer the next time
            return
        self._known[question] = answer
        while len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)), None)

    def _answer(self, task: Task, item: Item, listen: Callable[[str], None]) -> Answered:
        task = task.styled(self._style)
        engine, decoding = self._load(task)
        recorded: Any = _Recorded(engine)
        engine.listener = listen
        try:
            (result,) = assess(
                task,
                [item],
                recorded,
                decoding,
                batch_size=1,
                seed=self._seed,
                max_image_pixels=self.max_image_pixels,
                say=self._say,
            )
        finally:
            engine.listener = None
        row = row_of(task, result, str(engine.identity.get("model", "")))
        columns = task.choices.columns if task.choices else ()
        return Answered(
            card=card_of(task, row),
            shares=shares_of(task, engine, decoding, result, recorded.last),
            chances={name: float(row[name]) for name in columns if row.get(name) is not None},
            broken=result.error is not None,
        )


def _newest(updates: queue.SimpleQueue[Any]) -> Any:
    """The newest update. Waits if there is none."""
    found = updates.get()
    while not updates.empty():
        found = updates.get()
    return found


def shares_of(
    task: Task, engine: Engine, decoding: Decoding, result: Result, completions: Sequence[Completion]
) -> dict[float, float]:
    """The distribution of a task's number, with sum 1: the model's probabilities, averaged over the samples, or the
    frequencies of the samples if probabilities are not read. Empty for words, for an error, and for one number."""
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
