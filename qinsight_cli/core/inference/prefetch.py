"""The background thread that opens pictures and prepares batches for the engine."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qinsight_cli.core.engines import AT_A_TIME, Decoding, Engine, Request
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import read_image
from qinsight_cli.core.images.containers import RAW_EXTENSIONS
from qinsight_cli.core.images.worker import WORKER
from qinsight_cli.core.inference.cache import AnswerCache, Record
from qinsight_cli.core.tasks.base import Task
from qinsight_cli.core.tasks.choices import Choices

Item = Mapping[str, str]  # role -> path
Read = Callable[[str], tuple[bytes, str]]  # the name of a picture -> its bytes and their SHA-256, as `read_image`

# A batch ends after this many questions, even if most of them are already answered.
LONGEST = 256
# It also ends after this many pixels at the model's size: three batches are in memory at a time, with 24 bytes a pixel.
LARGEST = 32_000_000
PER_BYTE = 0.5  # pixels that a byte of a file to send counts as
GRACE = 1.0  # seconds to finish the current picture when the command ends early

# A tokenizer is not safe in two threads at once, and the main thread prepares a failed batch again.
_PREPARING = threading.Lock()


@dataclass
class BatchSize:
    """The most requests in a batch. Lowered when memory runs out."""

    most: int = AT_A_TIME


@dataclass(frozen=True)
class Reuse:
    """The cache with the answers of earlier commands (None: not used), and the known SHA-256 of pictures, by name."""

    cache: AnswerCache | None
    digests: Mapping[str, str] = field(default_factory=dict)

    def find(self, key: str) -> Record | None:
        return None if self.cache is None else self.cache.get(key)

    def keep(self, records: Mapping[str, Record]) -> None:
        if self.cache is not None:
            self.cache.put(records)


@dataclass(frozen=True)
class QuestionSettings:
    """The task and settings that are the same for every item.

    prompt            None: the prompt of Table A
    max_image_pixels  larger pictures are refused
    choices, direct   as in `Request`
    """

    task: Task
    batch_size: BatchSize
    seed: int
    prompt: str | None
    max_image_pixels: int
    choices: Choices | None
    direct: bool
    reuse: Reuse
    read: Read


@dataclass(eq=False)
class Question:
    """One item and what is known about it.

    key      the digests of its pictures, by role
    request  for the model; None if the answer is known, or cannot be had
    record   the answer from the cache, if it has one
    """

    item: Item
    key: str = ""
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    request: Request | None = None
    record: Record | None = None

    @property
    def kept_as(self) -> str:
        """Its key in the cache."""
        return kept_as(self.item, self.key)


def kept_as(item: Item, key: str) -> str:
    """A question's key in the cache. It has extensions of camera raw, which decide how a TIFF is opened."""
    extensions = [os.path.splitext(name)[1].lower() for name in item.values()]
    return "|".join((key, *(extension for extension in extensions if extension in RAW_EXTENSIONS)))


@dataclass
class Batch:
    """Consecutive questions. Those with a request are `prepared` for the engine, unless preparing them met
    `failure`."""

    questions: list[Question]
    prepared: Any = None
    failure: Exception | None = None


Queue = queue.Queue[Batch | BaseException | None]


@contextmanager
def loading(
    settings: QuestionSettings, items: Iterable[Item], engine: Engine, known: Container[str], decoding: Decoding
) -> Iterator[Queue]:
    """A queue of batches, filled by a thread that ends with the block. None marks the end; the reader raises
    exceptions.

    Questions whose key is in `known`, or which came before, get no request. At most one batch waits in the queue.
    """
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
            for questions in _grouped(settings, items, engine, known):
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
        thread.join(GRACE)
        if thread.is_alive():
            WORKER.stop()  # nobody needs the picture that it is decoding
            thread.join()


def _grouped(
    settings: QuestionSettings, items: Iterable[Item], engine: Engine, known: Container[str]
) -> Iterator[list[Question]]:
    queued: set[str] = set()
    questions: list[Question] = []
    for item in items:
        questions.append(_question(settings, item, engine, known, queued))
        asked = [question.request for question in questions if question.request is not None]
        pixels = sum(image.width * image.height for request in asked for image in request.images)
        pixels += sum(int(len(file) * PER_BYTE) for request in asked for file in request.files)
        if len(asked) >= settings.batch_size.most or len(questions) == LONGEST or pixels >= LARGEST:
            yield questions
            questions = []
    if questions:
        yield questions


def _question(
    settings: QuestionSettings, item: Item, engine: Engine, known: Container[str], queued: set[str]
) -> Question:
    """Read the files of one item. Decode them only if its answer is neither known nor already requested."""
    task, roles, role = settings.task, settings.task.order(item), ""
    question, reuse = Question(item), settings.reuse
    files: dict[str, tuple[bytes, str]] = {}
    images, sent = [], []

    def answered(digests: Mapping[str, str]) -> bool:
        question.key = key_of(digests)
        if question.key in known or question.key in queued:
            return True
        question.record = reuse.find(question.kept_as)
        return question.record is not None

    try:
        before = {role: reuse.digests[item[role]] for role in roles if item[role] in reuse.digests}
        if len(before) == len(roles) and answered(before):
            return question
        for role in roles:
            files[role] = settings.read(item[role])
        if answered({role: digest for role, (_, digest) in files.items()}):
            return question
        for role in roles:
            data, _ = files.pop(role)
            limits = (item[role], settings.max_image_pixels, engine.target)
            if engine.sends_files:
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
    # The same pictures get the same random numbers at any place in the list and in any batch.
    digest = hashlib.sha256(f"{settings.seed}|{question.key}".encode()).digest()
    question.request = Request(
        messages=task.messages(roles, settings.prompt),
        images=tuple(images),
        seed=int.from_bytes(digest[:7], "big"),
        choices=settings.choices,
        direct=settings.direct,
        files=tuple(sent),
    )
    return question


def key_of(digests: Mapping[str, str]) -> str:
    """Role -> digest of a picture, in order -> the key of a question."""
    return "|".join(f"{role}:{digest}" for role, digest in digests.items())


def digests_of(names: Iterable[str], advance: Callable[[], None], read: Read = read_image) -> dict[str, str]:
    """Picture -> SHA-256 of its bytes, read in several threads. Unreadable pictures are left out."""

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
    """The words after the role, for a task with several pictures."""
    return f"{role}: {words}" if len(task.roles) > 1 else words


def _prepared(engine: Engine, questions: list[Question], decoding: Decoding) -> Batch:
    batch = Batch(questions)
    requests = [question.request for question in questions if question.request is not None]
    try:
        if requests:
            batch.prepared = prepare_batch(engine, requests)
            engine.start(batch.prepared, decoding)
    except Exception as error:
        batch.failure = error
    return batch


def prepare_batch(engine: Engine, requests: Sequence[Request]) -> Any:
    """`engine.prepare`, one thread at a time."""
    with _PREPARING:
        return engine.prepare(requests)
