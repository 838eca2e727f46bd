"""Decoding of pictures in a separate process with limits of time and memory, which is restarted if it dies.

A file that crashes a decoder, fills the memory, or takes hours of processor time costs only its own row. The process
never loads torch. Bytes go in and out through pipes, and nothing that comes out is executed.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import MAX_PIXELS, check_shape, decode_plain
from qinsight_cli.core.images.fit import Target

if TYPE_CHECKING:
    from PIL import Image

SECONDS = 30.0  # of processor time for one picture of up to MAX_PIXELS pixels; more for larger ones
# The limit on the clock, as a multiple: the processor may be shared. It is long where the system limits processor time,
# so that the clock only ends a process that waits forever.
PATIENCE = 6 if os.name == "nt" else 40
MEMORY, PER_PIXEL = 1 << 30, 24  # bytes: of the process itself, and for each pixel allowed
_HEAD = struct.Struct(">IQ")
_CHANNELS = {"L": 1, "RGB": 3}
_START = "from qinsight_cli.core.images.worker import serve; serve()"


class Worker:
    """The process and the pipes to it. It decodes one picture at a time; several threads may use it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._owner = os.getpid()

    def decode(
        self, data: bytes, name: str = "", max_pixels: int = MAX_PIXELS, target: Target | None = None
    ) -> tuple[Image.Image, tuple[str, ...]]:
        """As `decode_image`, resized to `target`. Raises ImageError also for a picture that ends the process."""
        from PIL import Image

        answer, pixels = self._answer(data, name, max_pixels, target)
        mode, (width, height) = answer["mode"], answer["size"]
        if len(pixels) != width * height * _CHANNELS[mode]:
            raise ImageError("the process that decodes pictures returned no picture")
        return Image.frombytes(mode, (width, height), pixels).convert("RGB"), tuple(map(str, answer["notes"]))

    def to_send(
        self, data: bytes, name: str = "", max_pixels: int = MAX_PIXELS, target: Target | None = None
    ) -> tuple[bytes, tuple[str, ...]]:
        """The picture of `decode` as a file: `data` itself, or PNG (see `sending`)."""
        answer, png = self._answer(data, name, max_pixels, target, send=True)
        return (data if answer["same"] else png), tuple(map(str, answer["notes"]))

    def _answer(
        self, data: bytes, name: str, max_pixels: int, target: Target | None, send: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        seconds = self._seconds * max(1.0, max_pixels / MAX_PIXELS)
        request = {"name": name, "max_pixels": max_pixels, "seconds": seconds, "send": send}
        request["target"] = None if target is None else asdict(target)
        with self._turn:
            answer, result = self._exchange(request, data, seconds)
        if "error" in answer:
            raise ImageError(str(answer["error"]))
        return answer, result

    def _exchange(self, request: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        process = self._running()
        timer = threading.Timer(seconds * PATIENCE, process.kill)
        timer.daemon = True  # does not delay the end of this process after a signal
        try:
            timer.start()
            _send(process.stdin, request, data)  # type: ignore[arg-type]
            return _receive(process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError):
            overdue = not timer.is_alive()
            code = self.stop()
            late = overdue or code == -getattr(signal, "SIGXCPU", 0)
            why = f"took over {seconds:g} seconds to decode" if late else "broke its decoder"
            raise ImageError(f"the picture {why}; save it again as PNG or JPEG") from None
        except BaseException:
            self.stop()  # interrupted half-way: the pipe still holds bytes of this picture
            raise
        finally:
            timer.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a fork: the pipes belong to the parent
            self._process, self._owner = None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        # -P and no empty entry: nothing is imported from the working directory.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        environment["OPENBLAS_NUM_THREADS"] = "1"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the command
            )
            _receive(self._process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError) as error:
            raise QInsightError(f"the process that decodes pictures cannot be started: {error!r}") from None
        return self._process

    def stop(self) -> int | None:
        """End the process, if there is one -> its exit code. The next picture starts a new process."""
        process, self._process = self._process, None
        if process is None:
            return None
        with suppress(OSError):
            process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        return code


WORKER = Worker()
atexit.register(WORKER.stop)


def _send(pipe: BinaryIO, meta: dict[str, Any], data: bytes) -> None:
    words = json.dumps(meta).encode()
    pipe.write(_HEAD.pack(len(words), len(data)) + words)
    pipe.write(data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], bytes]:
    words, data = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    return json.loads(_exactly(pipe, words)), _exactly(pipe, data)


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve() -> None:
    """The loop of the process: pictures from standard input, pixels to standard output, until the input ends."""
    # The output of C libraries must not mix with the pixels.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _send(out, {"ready": True}, b"")
    while True:
        try:
            request, data = _receive(sys.stdin.buffer)
        except EOFError:
            return
        _limit(request["max_pixels"], request["seconds"])
        try:
            answer, pixels = _decoded(request, data)
        except ImageError as error:
            answer, pixels = {"error": str(error)}, b""
        except MemoryError:
            answer, pixels = {"error": "too large: not enough memory to decode it; make it smaller first"}, b""
        del data
        _send(out, answer, pixels)
        del pixels


def _decoded(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    image, notes = decode_plain(data, request["name"], request["max_pixels"])
    if request["target"] is not None:
        image = Target(**request["target"]).fit(image)
    if request["send"]:
        from qinsight_cli.core.images.sending import as_png, same_for_all

        check_shape(*image.size)
        same = same_for_all(data, image)
        return {"same": same, "notes": notes}, b"" if same else as_png(image)
    return {"mode": image.mode, "size": image.size, "notes": notes}, image.tobytes()


def _limit(max_pixels: int, seconds: float) -> None:
    """Let the system end this process if the next picture exceeds its memory or processor time."""
    try:
        import resource
    except ImportError:  # Windows: only the clock is checked
        return
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY + PER_PIXEL * max(max_pixels, MAX_PIXELS), most))
    with suppress(OSError, ValueError):
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, most))
