"""A map over processes that a signal, or the end of this process, stops at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from qinsight_cli.core.errors import QInsightError


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
