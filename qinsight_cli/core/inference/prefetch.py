"""The background thread that opens pictures and prepares batches for the engine."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from qinsight_cli.core.engines import Decoding, Engine, Request
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import MAX_PIXELS, read_image
from qinsight_cli.core.images.containers import RAW_EXTENSIONS
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.images.worker import WORKER
from qinsight_cli.core.inference.cache import AnswerCache, Record
from qinsight_cli.core.tasks.base import Task
from qinsight_cli.core.tasks.choices import Choices

Item = Mapping[str, str]  # role -> path
Read = Callable[[str], tuple[bytes, str]]  # a name in an item -> its bytes and their SHA-256, as `read_image`

# A batch is handed on after this many questions even if most of them need no model.
LONGEST = 256
# And after this many pixels at the size that the model sees: three batches are alive at a time, in 24 bytes a pixel.
LARGEST = 32_000_000
PER_BYTE = 0.5  # so many pixels does a byte of a file to send count as
HASTE = 1.0  # seconds that the picture in hand may take when the command ends early

# Tokenizers may not be used by two threads at once; a failed batch is prepared again in the main thread.
_PREPARING = threading.Lock()


@dataclass
class BatchSize:
    """How many requests go to the engine at a time; lowered where memory runs out."""

    most: int = 8


@dataclass(frozen=True)
class QuestionSettings:
    """What is asked of every item: the task, in which words (None: Table A), with which seed and batch size.

    Pictures of more than `max_image_pixels` are refused, the others resized to the engine's `target` if it has one, and
    kept as files if it `sends` them. With `choices` their probabilities are read, with `direct` nothing else. What
    `cache` holds is not asked; `digests` are those of pictures whose bytes were read before, by name.
    """

    task: Task
    batch_size: BatchSize = field(default_factory=BatchSize)
    seed: int = 0
    prompt: str | None = None
    max_image_pixels: int = MAX_PIXELS
    target: Target | None = None
    choices: Choices | None = None
    direct: bool = False
    sends: bool = False
    cache: AnswerCache | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    read: Read = read_image


@dataclass(eq=False)
class Question:
    """One item. `key` is its pictures' digests by role; `request` is None when there is nothing to ask the model.

    `record` is its answer from the cache, if that holds it.
    """

    item: Item
    key: str = ""
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    request: Request | None = None
    record: Record | None = None

    @property
    def kept_as(self) -> str:
        """Its key in the cache. An extension of camera raw decides how a TIFF is opened."""
        return kept_as(self.item, self.key)


def kept_as(item: Item, key: str) -> str:
    """A question's key in the cache, from its key."""
    extensions = [os.path.splitext(name)[1].lower() for name in item.values()]
    return "|".join((key, *(extension for extension in extensions if extension in RAW_EXTENSIONS)))


@dataclass
class Batch:
    """Consecutive questions; those with a request are the engine's next batch, `prepared` unless that met `failure`."""

    questions: list[Question]
    prepared: Any = None
    failure: Exception | None = None


Queue = queue.Queue[Batch | BaseException | None]


@contextmanager
def loading(
    settings: QuestionSettings, items: Iterable[Item], engine: Engine, known: Container[str], decoding: Decoding
) -> Iterator[Queue]:
    """A queue of batches filled by a thread that ends with the block. None marks the end; an exception must be raised.

    Questions whose key is in `known`, or which came before, get no request. At most one batch waits in the queue; an
    engine that works elsewhere is given it to `start`.
    """
    settings = replace(settings, target=getattr(engine, "target", None), sends=hasattr(engine, "start"))
    batches: Queue = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(entry: Batch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                batches.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for questions in _grouped(settings, items, known):
                if stop.is_set():
                    return
                put(_prepared(engine, questions, decoding))
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="qinsight-images", daemon=True)
    thread.start()
    try:
        yield batches
    finally:
        stop.set()
        thread.join(HASTE)
        if thread.is_alive():
            WORKER.stop()  # in the midst of a picture that nobody waits for any more
            thread.join()


def _grouped(settings: QuestionSettings, items: Iterable[Item], known: Container[str]) -> Iterator[list[Question]]:
    queued: set[str] = set()
    questions: list[Question] = []
    for item in items:
        questions.append(_question(settings, item, known, queued))
        asked = [question.request for question in questions if question.request is not None]
        pixels = sum(image.width * image.height for request in asked for image in request.images)
        pixels += sum(int(len(file) * PER_BYTE) for request in asked for file in request.files)
        if len(asked) >= settings.batch_size.most or len(questions) == LONGEST or pixels >= LARGEST:
            yield questions
            questions = []
    if questions:
        yield questions


def _question(settings: QuestionSettings, item: Item, known: Container[str], queued: set[str]) -> Question:
    """Read the files of one item; decode them only when its answer is neither known nor on its way."""
    task, roles, role = settings.task, settings.task.order(item), ""
    question, files, images, sent = Question(item), {}, [], []

    def answered(digests: Mapping[str, str]) -> bool:
        question.key = key_of(digests)
        if question.key in known or question.key in queued:
            return True
        if settings.cache is not None:
            question.record = settings.cache.get(question.kept_as)
        return question.record is not None

    try:
        before = {role: settings.digests[item[role]] for role in roles if item[role] in settings.digests}
        if len(before) == len(roles) and answered(before):
            return question
        for role in roles:
            files[role] = settings.read(item[role])
        if answered({role: digest for role, (_, digest) in files.items()}):
            return question
        for role in roles:
            data, _ = files.pop(role)
            limits = (item[role], settings.max_image_pixels, settings.target)
            if settings.sends:
                file, notes = WORKER.to_send(data, *limits)
                sent.append(file)
            else:
                image, notes = WORKER.decode(data, *limits)
                images.append(image)
            del data
            question.notes += [_named(task, role, note) for note in notes]
    except ImageError as error:
        question.error = _named(task, role, str(error))
        return question
    queued.add(question.key)
    # The same pictures draw the same random numbers at any place in the list and in any batch.
    drawn = hashlib.sha256(f"{settings.seed}|{question.key}".encode()).digest()
    question.request = Request(
        *(task.messages(roles, settings.prompt), tuple(images), int.from_bytes(drawn[:7], "big")),
        choices=settings.choices,
        direct=settings.direct,
        files=tuple(sent),
    )
    return question


def key_of(digests: Mapping[str, str]) -> str:
    """Role -> digest of a picture, in order -> the key of a question."""
    return "|".join(f"{role}:{digest}" for role, digest in digests.items())


def digests_of(names: Iterable[str], advance: Callable[[], None], read: Read = read_image) -> dict[str, str]:
    """Picture -> SHA-256 of its bytes, several read at a time. Pictures that cannot be read are left out."""

    def one(name: str) -> str | None:
        try:
            return read(name)[1]
        except ImageError:
            return None

    found: dict[str, str] = {}
    names = list(dict.fromkeys(names))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for name, digest in zip(names, pool.map(one, names), strict=True):
            advance()
            if digest is not None:
                found[name] = digest
    return found


def _named(task: Task, role: str, words: str) -> str:
    """With several pictures, say which one is meant."""
    return f"{role}: {words}" if len(task.roles) > 1 else words


def _prepared(engine: Engine, questions: list[Question], decoding: Decoding) -> Batch:
    batch = Batch(questions)
    requests = [question.request for question in questions if question.request is not None]
    try:
        batch.prepared = prepare_batch(engine, requests) if requests else None
        if requests and hasattr(engine, "start"):
            engine.start(batch.prepared, decoding)
    except Exception as error:
        batch.failure = error
    return batch


def prepare_batch(engine: Engine, requests: Sequence[Request]) -> Any:
    """`engine.prepare`, one thread at a time."""
    with _PREPARING:
        return engine.prepare(requests)
