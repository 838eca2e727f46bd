"""Standard streams that are closed, full, or have no reader.

Messages that cannot be written are dropped. If data cannot be written, the command ends with exit code 1 and one line,
or no line if the reader of a pipe has closed it. Output files are still completed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

from qinsight_cli.core.errors import OutputError


def install() -> None:
    """Replace standard output, standard error and the handler of Ctrl-C. Call it once, at the start."""
    for descriptor in (0, 1, 2):
        _occupy(descriptor)
    sys.stdout = _text(io.BufferedWriter(_Descriptor(1)), sys.stdout)
    sys.stderr = _text(_Descriptor(2, talk=True), sys.stderr, write_through=True)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from now on: the command has ended, and the interpreter shuts down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def finish() -> None:
    """Flush standard output. Raises OutputError if it cannot be written."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _occupy(descriptor: int) -> None:
    """Open the null device for a closed descriptor, because the next file would get its number otherwise.

    Standard output gets one that is open for reading, so that writing to it still fails.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)


def _text(raw: Any, before: Any, write_through: bool = False) -> io.TextIOWrapper:
    """A text stream on `raw` with the encoding of `before`. Characters that it cannot encode are escaped."""
    encoding = getattr(before, "encoding", None) or "utf-8"
    settings = {"line_buffering": raw.isatty(), "write_through": write_through}
    return io.TextIOWrapper(raw, encoding, "backslashreplace", **settings)


class _Descriptor(io.RawIOBase):
    """A descriptor for writing. After its first error it drops everything."""

    def __init__(self, descriptor: int, talk: bool = False) -> None:
        super().__init__()
        self._descriptor, self._talk, self._lost = descriptor, talk, False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and not self._lost:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            if not self._talk:
                self._lost = True
                closed = isinstance(error, BrokenPipeError)
                words = "" if closed else f"cannot write to standard output: {error.strerror or error}"
                raise OutputError(words) from None
        return size


def _interrupt(*_: object) -> None:
    """The first Ctrl-C ends the command. Later ones do nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def log_to_stderr() -> None:
    """Send DeepSpeed's log to stderr. By default it goes to stdout, which is for results."""
    import logging

    def moved(record: logging.LogRecord) -> bool:
        print(record.getMessage(), file=sys.stderr)
        return False

    log = logging.getLogger("DeepSpeed")
    if not log.filters:  # a filter works before any handler that DeepSpeed adds later
        log.addFilter(moved)
