"""The main loop of score, degrade, compare and bench: images -> requests -> engine -> answers -> journal.

A background thread opens the pictures of the next batch while the model answers the current one. An unusable picture or
an unreadable answer becomes a Result with an error and never spoils its batch. The seed of a question comes from its
pictures, so a result does not depend on its batch or its place in the list.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from qinsight_cli import __version__
from qinsight_cli.core.engines import Completion, Decoding, Engine, Unanswered
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import MAX_PIXELS, read_image
from qinsight_cli.core.inference.cache import Record
from qinsight_cli.core.inference.distributions import Distribution, choices_of, expected_answers, notes_of, summaries
from qinsight_cli.core.inference.interrupt import interruptible, until_interrupted
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.inference.prefetch import (
    Batch,
    BatchSize,
    Item,
    Question,
    QuestionSettings,
    Read,
    Reuse,
    loading,
    prepare_batch,
)
from qinsight_cli.core.models.memory import out_of_memory
from qinsight_cli.core.tasks.base import PLACE, ParseFailure, Task
from qinsight_cli.core.tasks.choices import Choices

LIBRARIES = ("transformers", "torch", "tokenizers", "pillow")  # another version may give another answer
# A Record is what the journal and the cache keep of one question: completions, distributions, notes, seconds.


class _Memory(dict[str, Record]):
    """A journal in memory, for runs without a journal file."""

    append = dict.update


@dataclass(frozen=True)
class Result:
    """The result of one question.

    images         role -> path, as given
    answers        per sample: the task's answer, or why it is unreadable; the answer of the distribution if one was
                   read; empty with `error`
    completions    per sample: what the model wrote; empty with `error`
    error          why there is no completion (a broken picture, a failing model), else None
    notes          what a reader should know about the pictures
    seconds        its share of its batch's time; 0.0 with `error`
    distributions  per sample: `Choices.summary` of the model's distribution, None if it is unreadable; empty if answers
                   are read as written
    key            the SHA-256 of the pictures by role; "" if a picture cannot be read
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
        """Whether a server failed to answer. A later run may get an answer."""
        return self.error is not None and self.error.startswith(f"{Unanswered.KIND}: ")


def settings_of(
    task: Task, identity: Mapping[str, Any], decoding: Decoding, seed: int, prompt: str | None = None
) -> dict[str, Any]:
    """All settings that affect a result, without the pictures: the fingerprint of a journal."""
    role_sets = (task.roles, (*task.optional, *task.roles))
    places = prompt is not None and PLACE in prompt  # such a prompt fits only one of the two sets
    messages = json.dumps([task.system, prompt] if places else [task.messages(roles, prompt) for roles in role_sets])
    return {
        "task": task.name,
        "prompt": hashlib.sha256(messages.encode()).hexdigest()[:16],
        "model": dict(identity),
        "decoding": decoding.as_dict(),
        "seed": seed,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of qinsight and of the libraries that affect answers."""
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
    """Ask `task` about every item. Yields Results in the order of `items`.

    batch_size    None: the engine decides; a batch that runs out of memory is halved, and `say` gets a line
    journal       has earlier answers; new ones are fsynced into it, batch by batch, before they are yielded
    prompt        replaces the prompt of Table A
    on_interrupt  called at the first Ctrl-C, SIGTERM or SIGHUP; KeyboardInterrupt follows after the current batch
    reuse         has the answers of earlier commands, and keeps the new ones

    Items with the same pictures share one answer. Raises QInsightError if the journal cannot be written.
    """
    known: Journal | _Memory = _Memory() if journal is None else journal
    failed: dict[str, str] = {}
    choices = choices_of(task, engine, decoding)
    size = BatchSize(batch_size or engine.at_a_time(len(task.roles) + len(task.optional), decoding))
    reuse = reuse or Reuse(None)
    settings = QuestionSettings(
        task=task,
        batch_size=size,
        seed=seed,
        prompt=prompt,
        max_image_pixels=max_image_pixels,
        choices=choices,
        direct=decoding.mode == "direct",
        reuse=reuse,
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


def _result(
    task: Task, question: Question, known: Journal | _Memory, failed: Mapping[str, str], decoding: Decoding
) -> Result:
    """The result of a question whose batch is done, from its record or its error."""
    error = question.error or failed.get(question.key)
    if error is not None:
        return Result(question.item, error=error, notes=tuple(question.notes), key=question.key)
    record = question.record or known[question.key]
    try:
        completions = tuple(Completion(**completion) for completion in record["completions"])
        answers = tuple(_read(task, completion, decoding) for completion in completions)
        distributions = tuple(record.get("distributions", ()))
        if distributions:
            answers = expected_answers(task, answers, distributions, decoding.mode == "direct")
        notes = (*record["notes"], *notes_of(distributions))
        texts = (question.item, answers, completions)
        return Result(*texts, None, notes, record["seconds"], distributions, question.key)
    except (KeyError, TypeError, AttributeError, ValueError) as reason:
        raise QInsightError(f"the journal has an unreadable answer ({reason!r}): --restart starts over") from reason


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
    """One batch through the engine -> ({key: record}, {key: error}). A batch that runs out of memory is repeated in
    halves; one that fails in another way, question by question."""
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
        engine.release()  # after the except block, which holds the tensors of the failed batch
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
    """The size of the next try after a batch of several has failed."""
    if not out_of_memory(error):
        return 1
    half = (batch + 1) // 2
    if half < size.most:
        size.most = half
        say(f"out of memory with {batch} images at a time: continuing with {half}")
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
    """The completions, with a summary of each distribution instead of its probabilities."""
    written = [asdict(completion) for completion in completions]
    for each in written:
        del each["probabilities"]
    return {"completions": written, **summaries(completions, choices)}


def _reraise(error: Exception) -> None:
    """Raise an error that is not the fault of one picture: it stops the command."""
    if isinstance(error, QInsightError) and not isinstance(error, ImageError):
        raise error


def _why(error: Exception) -> str:
    if out_of_memory(error):
        return "out of memory with this image alone; give a smaller --max-pixels"
    words = " ".join(str(error).split())
    return words if isinstance(error, ImageError) else f"the model failed on it: {type(error).__name__}: {words}"
