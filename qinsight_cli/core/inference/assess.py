"""The main loop of score, degrade, compare and bench: images -> requests -> engine -> answers -> journal.

A background thread opens the pictures and prepares the next batch while the model writes about this one. A picture
that cannot be used, or an answer that cannot be read, is a Result with an error; it never spoils its batch. The seed
of a question comes from its pictures, so a result does not depend on its batch or its place in the list.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

from qinsight_cli import __version__
from qinsight_cli.core.engines import Completion, Decoding, Engine, Unanswered
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import MAX_PIXELS, read_image
from qinsight_cli.core.inference.cache import AnswerCache, Record
from qinsight_cli.core.inference.distributions import Distribution, answers_of, choices_of, notes_of, summaries
from qinsight_cli.core.inference.interrupt import interruptible, until_interrupted
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.inference.prefetch import (
    Batch,
    BatchSize,
    Item,
    Question,
    QuestionSettings,
    Read,
    loading,
    prepare_batch,
)
from qinsight_cli.core.models.memory import out_of_memory
from qinsight_cli.core.tasks.base import PLACE, ParseFailure, Task
from qinsight_cli.core.tasks.choices import Choices

LIBRARIES = ("transformers", "torch", "tokenizers", "pillow")  # another version of these may give another answer
# A Record is what the journal and the cache keep of one question: completions, distributions, notes, seconds.


class _Memory(dict[str, Record]):
    """Replaces the journal if there is none."""

    append = dict.update


@dataclass(frozen=True)
class Result:
    """The result of one question.

    images       role -> path, as asked
    answers      per sample: the task's answer, or why it could not be read; empty with `error`. Where a distribution
                 was read, the answer is that of the distribution
    completions  per sample: what the model wrote; empty with `error`
    error        why there is no completion at all (a broken picture, a failing model), else None
    notes        what a reader should know of the pictures
    seconds      the share of its batch's time, 0.0 with `error`
    distributions  per sample: `Choices.summary` of the model's distribution, None where nothing could be read; empty
                 where answers are read as they are written
    key          the SHA-256 of the pictures by role; "" when one could not be read
    """

    images: Item
    answers: tuple[Any, ...] = ()
    completions: tuple[Completion, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    distributions: tuple[Distribution | None, ...] = ()
    key: str = ""

    @property
    def unanswered(self) -> bool:
        """Whether a server failed to answer: asked again, it may."""
        return self.error is not None and self.error.startswith(f"{Unanswered.KIND}: ")


@dataclass(frozen=True)
class Reuse:
    """The answers of earlier commands, if they are to be used, and the digests of pictures read before, by path."""

    cache: AnswerCache | None
    digests: Mapping[str, str] = field(default_factory=dict)

    def keep(self, records: Mapping[str, Record]) -> None:
        if self.cache is not None:
            self.cache.put(records)


def settings_of(task: Task, engine: Engine, decoding: Decoding, seed: int, prompt: str | None = None) -> dict[str, Any]:
    """Every setting that decides a result, apart from the pictures: the fingerprint of a journal."""
    role_sets = (task.roles, (*task.optional, *task.roles))
    places = prompt is not None and PLACE in prompt  # for one of the two sets only
    messages = json.dumps([task.system, prompt] if places else [task.messages(roles, prompt) for roles in role_sets])
    return {
        "task": task.name,
        "prompt": hashlib.sha256(messages.encode()).hexdigest()[:16],
        "model": engine.identity,
        "decoding": decoding.as_dict(),
        "seed": seed,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what turns pictures into answers: qinsight and the libraries below it."""
    return {"qinsight": __version__, **{name: version(name) for name in LIBRARIES}}


def assess(
    task: Task,
    items: Iterable[Item],
    engine: Engine,
    decoding: Decoding,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    prompt: str | None = None,
    max_image_pixels: int = MAX_PIXELS,
    on_interrupt: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda words: None,
    reuse: Reuse | None = None,
    read: Read = read_image,
) -> Iterator[Result]:
    """Ask `task` about every item; yields Results in the order of `items`.

    Answers already in `journal` are not asked again, new ones are fsynced into it batch by batch before they are
    yielded. A second item of the same pictures reuses the answer of the first. The first Ctrl-C, SIGTERM or SIGHUP
    calls `on_interrupt`, finishes the batch in flight and raises KeyboardInterrupt; the second raises it at once.
    Without `batch_size` the engine says how many it takes at a time. `prompt` replaces the words of Table A, `read`
    gives the bytes of a picture. `reuse` has answers of earlier commands, and keeps the new ones. A batch for which
    memory runs out is asked in halves, as are all later ones, and `say` is told. Raises QInsightError when the journal
    cannot be written.
    """
    known: Journal | _Memory = _Memory() if journal is None else journal
    failed: dict[str, str] = {}
    choices = choices_of(task, engine, decoding)
    size = BatchSize(batch_size or at_a_time(task, engine, decoding))
    reuse = reuse or Reuse(None)
    settings = QuestionSettings(
        *(task, size, seed, prompt, max_image_pixels),
        choices=choices,
        direct=decoding.mode == "direct",
        cache=reuse.cache,
        digests=reuse.digests,
        read=read,
    )
    with interruptible(on_interrupt) as interrupted, loading(settings, items, engine, known, decoding) as batches:
        for batch in until_interrupted(batches, interrupted):
            records, errors = _ask(engine, batch, decoding, choices, size, say)
            failed |= errors
            if records:
                known.append(records)
                reuse.keep({q.kept_as: records[q.key] for q in batch.questions if q.key in records})
            yield from (_result(task, question, known, failed, decoding) for question in batch.questions)


def at_a_time(task: Task, engine: Engine, decoding: Decoding) -> int:
    """How many questions of a task to ask an engine at a time; 8 where it does not say."""
    pictures = len(task.roles) + len(task.optional)
    choose: Callable[[int, Decoding], int] = getattr(engine, "at_a_time", lambda *_: BatchSize.most)
    return choose(pictures, decoding)


def _result(
    task: Task, question: Question, known: Journal | _Memory, failed: Mapping[str, str], decoding: Decoding
) -> Result:
    """The result of a question whose batch is done: its record is known, or its error."""
    error = question.error or failed.get(question.key)
    if error is not None:
        return Result(question.item, error=error, notes=tuple(question.notes), key=question.key)
    record = question.record or known[question.key]
    try:
        completions = tuple(Completion(**completion) for completion in record["completions"])
        answers = tuple(_read(task, completion, decoding) for completion in completions)
        distributions = tuple(record.get("distributions", ()))
        if distributions:
            answers = answers_of(task, answers, distributions, decoding.mode == "direct")
        notes = (*record["notes"], *notes_of(distributions))
        texts = (question.item, answers, completions)
        return Result(*texts, None, notes, record["seconds"], distributions, question.key)
    except (KeyError, TypeError, AttributeError, ValueError) as reason:
        raise QInsightError(
            f"the journal has an unreadable answer ({reason!r}): begin again with --restart"
        ) from reason


def _read(task: Task, completion: Completion, decoding: Decoding) -> Any:
    answer = task.parse(completion.text)
    if isinstance(answer, ParseFailure) and answer.kind == "no_answer" and completion.finish_reason == "length":
        limit = decoding.max_new_tokens
        return ParseFailure("truncated", f"no answer within {limit} tokens; raise --max-new-tokens")
    return answer


# The model's side


def _ask(
    engine: Engine,
    batch: Batch,
    decoding: Decoding,
    choices: Choices | None,
    size: BatchSize,
    say: Callable[[str], None],
) -> tuple[dict[str, Record], dict[str, str]]:
    """One batch through the engine -> ({key: record}, {key: error}). When memory runs out, in halves; when the batch
    fails in another way, each alone."""
    requests = {question: question.request for question in batch.questions if question.request is not None}
    if not requests:
        return {}, {}

    def prepared() -> Any:
        if batch.failure is not None:
            raise batch.failure
        return batch.prepared

    def attempt(questions: list[Question], prepare: Callable[[], Any]) -> tuple[dict[str, Record], dict[str, str]]:
        try:
            return _generate(engine, prepare(), questions, decoding, choices)
        except Exception as error:
            _reraise(error)
            if len(questions) == 1:
                return {}, {questions[0].key: _why(error)}
            part = _smaller(error, len(questions), size, say)
        getattr(engine, "release", lambda: None)()  # after the except block, which holds what the failed batch has made
        records: dict[str, Record] = {}
        errors: dict[str, str] = {}
        for start in range(0, len(questions), part):
            some = questions[start : start + part]
            asked = [requests[question] for question in some]
            more, worse = attempt(some, partial(prepare_batch, engine, asked))
            records, errors = records | more, errors | worse
        return records, errors

    return attempt(list(requests), prepared)


def _smaller(error: Exception, batch: int, size: BatchSize, say: Callable[[str], None]) -> int:
    """How many to ask at a time after a batch of several has failed."""
    if not out_of_memory(error):
        return 1
    half = (batch + 1) // 2
    if half < size.most:
        size.most = half
        say(f"out of memory with {batch} images at a time: going on with {half}")
    return half


def _generate(
    engine: Engine, prepared: Any, requests: Collection[Question], decoding: Decoding, choices: Choices | None
) -> tuple[dict[str, Record], dict[str, str]]:
    start = time.perf_counter()
    drawn = engine.generate(prepared, decoding)
    seconds = round((time.perf_counter() - start) / len(requests), 4)
    records: dict[str, Record] = {}
    errors: dict[str, str] = {}
    for question, completions in zip(requests, drawn, strict=True):
        if isinstance(completions, Unanswered):
            errors[question.key] = f"{Unanswered.KIND}: {completions}"
        else:
            records[question.key] = {**_record(completions, choices), "notes": question.notes, "seconds": seconds}
    return records, errors


def _record(completions: Sequence[Completion], choices: Choices | None) -> Record:
    """What the model wrote, and a summary of each distribution in the place of its probabilities."""
    written = [asdict(completion) for completion in completions]
    for each in written:
        del each["probabilities"]
    return {"completions": written, **summaries(completions, choices)}


def _reraise(error: Exception) -> None:
    """Errors that are not the fault of one picture stop the command."""
    if isinstance(error, QInsightError) and not isinstance(error, ImageError):
        raise error


def _why(error: Exception) -> str:
    if out_of_memory(error):
        return "out of memory with this image alone; lower --max-pixels"
    words = " ".join(str(error).split())
    return words if isinstance(error, ImageError) else f"the model failed on it: {type(error).__name__}: {words}"
