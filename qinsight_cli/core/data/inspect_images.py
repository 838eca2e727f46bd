"""Inspection of every picture of a dataset, decoded once, on all cores: its size, hashes and measures."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.data.manifest import FileFacts
from qinsight_cli.core.data.near_duplicates import difference_hash
from qinsight_cli.core.encodings import is_text
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.files import write_bytes
from qinsight_cli.core.images import read_image
from qinsight_cli.core.images.worker import WORKER

if TYPE_CHECKING:
    from PIL import Image

    from qinsight_cli.core.data.reasoning import Measures


@dataclass(frozen=True)
class ImageToInspect:
    """One picture to look at, and what to do with it.

    copy_to     write a copy of the file here
    short_side  scale a picture whose short side has more pixels down to this many, and write it to `scaled_to` as PNG
    measure     take the measures of `reasoning.measure_image`
    """

    path: Path
    copy_to: Path | None = None
    short_side: int | None = None
    scaled_to: Path | None = None
    measure: bool = False


@dataclass(frozen=True)
class InspectedImage:
    """The result: the file that the manifest will name, its facts, its difference hash, and its measures."""

    path: Path
    facts: FileFacts
    hash: int | None
    measures: Measures | None = None


def inspect_image(wanted: ImageToInspect) -> InspectedImage | str:
    """Read and decode one picture; if it cannot be read, or its name cannot be written, return the reason."""
    if not is_text(wanted.path.name):
        return "the file name is not text; rename the file"
    try:
        data, digest = read_image(wanted.path)
        image, _ = WORKER.decode(data, wanted.path.name)
    except ImageError as error:
        return str(error)
    path = wanted.path
    if wanted.short_side is not None and wanted.scaled_to is not None and min(image.size) > wanted.short_side:
        image, data = _scaled(image, wanted.short_side)
        path, digest = wanted.scaled_to, hashlib.sha256(data).hexdigest()
        write_bytes(path, data, durable=False)
    elif wanted.copy_to is not None:
        path = wanted.copy_to
        write_bytes(path, data, durable=False)
    measures = None
    if wanted.measure:
        from qinsight_cli.core.data.reasoning import measure_image

        measures = measure_image(image)
    return InspectedImage(path, FileFacts(digest, image.width, image.height), difference_hash(image), measures)


def inspect_images(
    images: Sequence[ImageToInspect], workers: int, progress: Callable[[], None]
) -> list[InspectedImage | str]:
    """`inspect_image` for all, in order, on several cores. Memory holds at most one picture per worker."""
    found = []
    with process_pool(workers) as each:
        for result in each(inspect_image, images, 16):
            progress()
            found.append(result)
    return found


@contextmanager
def process_pool(workers: int) -> Iterator[Any]:
    """Yields `each(function, items, chunk)`, a map in order over processes; one worker works in this process.

    Ctrl-C, SIGTERM and SIGHUP stop it at once, and no process is left behind, whatever ends this one. Raises
    QInsightError if a process is killed.
    """
    with _ended_by_signals():
        if workers <= 1:
            yield lambda function, items, chunk: map(function, items)
            return
        # Not a plain fork: forking a process in which OpenCV or a progress bar has threads may deadlock.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), initializer=_start_worker)
        try:
            yield lambda function, items, chunk: pool.map(partial(_stoppable, function), items, chunksize=chunk)
        except BrokenProcessPool:
            raise QInsightError("a worker process was killed, possibly out of memory; try fewer --workers") from None
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()  # its item is not needed any more
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that workers, locks and temporary files are removed."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}

    def end(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(ImportError):  # OpenCV comes with an extra, which a plain dataset does not need
        import cv2

        cv2.setNumThreads(1)  # the pool already uses every core


# Of this worker: whether it got SIGTERM, and whether it works on an item.
STATE = {"ending": False, "working": False}


def _leave(*_: object) -> None:
    """End the current item by an exception, which removes a half-written file. Between items nothing may be raised: a
    half-sent result would block the parent forever."""
    STATE["ending"] = True
    if STATE["working"]:
        raise SystemExit(1)


def _stoppable(function: Callable[[Any], Any], item: Any) -> Any:
    """`function(item)`, unless this worker is to end."""
    STATE["working"] = True
    try:
        if STATE["ending"]:
            raise SystemExit(1)
        return function(item)
    finally:
        STATE["working"] = False


def _end_with_parent() -> None:
    """End this worker if its parent is killed: it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _scaled(image: Image.Image, short_side: int) -> tuple[Image.Image, bytes]:
    from PIL import Image

    scale = short_side / min(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return small, buffer.getvalue()
