"""Ctrl-C, SIGTERM and SIGHUP: the first signal ends a run after its current batch, the second ends it at once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qinsight_cli.core.inference.prefetch import Batch, Queue

# Ctrl-C, and the signals of a scheduler and of a closing terminal.
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def interruptible(on_interrupt: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that the first signal sets. The second signal raises KeyboardInterrupt."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield interrupted
        return

    def stop(*_: object) -> None:
        if interrupted.is_set():
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if handler is signal.default_int_handler else handler)
            raise KeyboardInterrupt
        interrupted.set()
        on_interrupt()

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # A signal that the process was started to ignore (Ctrl-C under nohup) stays ignored.
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until_interrupted(batches: Queue, interrupted: threading.Event) -> Iterator[Batch]:
    """The batches of the queue. Raises KeyboardInterrupt once `interrupted`, without waiting for the next batch."""
    while True:
        if interrupted.is_set():
            raise KeyboardInterrupt
        try:
            entry = batches.get(timeout=0.1)
        except queue.Empty:
            continue
        if entry is None:
            return
        if isinstance(entry, BaseException):
            raise entry
        yield entry
