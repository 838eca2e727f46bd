"""Atomic writes, file locks, and output folders that belong to one command.

A file is written under a new random name in its folder and then renamed: it is complete or absent, and nothing is
written through a link. Errors of the disk become one line that names the file. On Windows a rename is not durable by
itself: Python cannot fsync a folder there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from qinsight_cli.core.disk_errors import disk_errors
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.output_checks import check_output

try:
    import fcntl
except ImportError:  # Windows, which locks a range of bytes instead
    fcntl = None  # type: ignore[assignment]
    import msvcrt

AGAIN = "; what was done before is kept, run the same command again"
_LOCK_PLACE = 1 << 40  # the byte that Windows locks, far beyond the end: it forbids reading locked bytes
_BINARY, NO_LINK = getattr(os, "O_BINARY", 0), getattr(os, "O_NOFOLLOW", 0)  # 0 where the platform lacks them
LEAVINGS = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")  # files of file managers
_UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # errors of a file system without locks


@contextmanager
def write_atomically(path: str) -> Iterator[BinaryIO]:
    """Yield a file to write bytes to; it replaces `path` at the end. After an exception `path` is unchanged.

    A link at `path` stays a link; its target is replaced. Raises QInsightError if the folder is missing, the disk is
    full or fails, or another process writes the same output.
    """
    check_output(path)
    target = os.path.realpath(path)
    with locked(_beside(target, "lock"), path):
        _sweep(target)
        with _new_file(target, path) as file:
            yield file


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file as `write_atomically` does, but without a lock. Makes the folder, and replaces a link at `path`.

    durable  False for one of very many files; call `sync_everything` after the last
    Raises QInsightError naming the file.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _new_file(os.fspath(path), os.fspath(path), durable) as file:
        file.write(data)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of text in UTF-8; line ends stay. Raises QInsightError for text that UTF-8 cannot express."""
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise QInsightError(f"cannot write {path}: {content[error.start : error.end]!a} is not text") from None
    write_bytes(path, data)


@contextmanager
def _new_file(target: str, shown: str, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a file under a new name. At the end it becomes `target`, with the permissions of the file it replaces."""
    part = _beside(target, f"{secrets.token_hex(8)}.part")
    with disk_errors(shown):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY | NO_LINK, 0o666)
    try:
        with disk_errors(shown), os.fdopen(descriptor, "wb") as file:
            with suppress(FileNotFoundError):
                before = os.lstat(target)
                if stat.S_ISREG(before.st_mode):
                    os.chmod(part, stat.S_IMODE(before.st_mode))
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        with disk_errors(shown):
            os.replace(part, target)
        if durable:
            sync_folder(os.path.dirname(target))
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _beside(target: str, ending: str) -> str:
    """A hidden name in the folder of `target`, no longer than file systems allow."""
    folder, name = os.path.split(target)
    shortened = os.fsencode(name)[:120].decode("utf-8", "ignore")
    return os.path.join(folder, f".{shortened}.{ending}")


def _sweep(target: str) -> None:
    """Remove the parts that killed writers of `target` left. Only the holder of its lock may call this."""
    folder, name = os.path.split(_beside(target, ""))
    pattern = re.compile(re.escape(name) + r"[0-9a-f]{16}\.part")
    with suppress(OSError):
        for left in [entry for entry in os.scandir(folder or ".") if pattern.fullmatch(entry.name)]:
            os.unlink(left.path)


@contextmanager
def locked(lock: str, shown: str) -> Iterator[None]:
    """Hold a lock file, and remove it afterwards. Raises QInsightError if another process holds it.

    shown  the output, for the message
    """
    with disk_errors(shown):
        descriptor = open_locked(lock, shown, NO_LINK)
    try:
        yield
    finally:
        if fcntl is None:
            os.close(descriptor)  # Windows removes no open file
        with suppress(OSError):
            os.unlink(lock)
        if fcntl is not None:
            os.close(descriptor)


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other commands; the lock file is beside it. Raises QInsightError if it is locked."""
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    real = os.path.realpath(folder)
    lock = _beside(real, "lock")
    if not os.access(os.path.dirname(real), os.W_OK):  # such as / in a container, around a mounted folder
        digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
        lock = os.path.join(tempfile.gettempdir(), f"qinsight-{digest}.lock")
    with locked(lock, os.fspath(folder)):
        yield


def open_locked(path: str, shown: str, flags: int = 0) -> int:
    """Open a file for reading and writing, and lock it; create it if it is missing.

    Raises QInsightError if another process holds the lock.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY | flags, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP and os.path.islink(path):
                raise QInsightError(f"cannot write {path}: it is a link, which is not followed; remove it") from None
            raise
        try:
            _lock(descriptor)
            # The holder before us may have removed or renamed the file between our open and our lock.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except OSError as error:
            if error.errno in _UNLOCKABLE:
                return descriptor
            os.close(descriptor)
            if isinstance(error, BlockingIOError) or error.errno in (errno.EACCES, errno.EDEADLK):
                raise QInsightError(f"another qinsight is writing {shown}; wait for it or give another file") from None
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    os.lseek(descriptor, _LOCK_PLACE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    os.lseek(descriptor, 0, os.SEEK_SET)


def read_at(descriptor: int, length: int, start: int) -> bytes:
    """Read bytes of an open file at an offset. The file position may change."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, start)
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, length)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make new names in a folder durable, if the file system can."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_everything() -> None:
    """Make all written files durable: one sync is cheaper than thousands of fsyncs."""
    if hasattr(os, "sync"):
        os.sync()


def claim_folder(folder: Path, kind: str, ours: Callable[[], bool], found: str = "") -> None:
    """Make the folder of an output, or accept one that is empty or `ours`: no file of the user is overwritten.

    kind   what the command writes, such as "dataset" or "bench"
    found  what a folder holds that is not ours, such as "the dataset 'koniq'"
    Raises QInsightError for a folder that holds something else, for a file, and if the folder cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise QInsightError(f"{folder} is a file; choose another --out")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = holds_files(folder)
    if held and not ours():
        what = found or f"files that are no {kind} of qinsight"
        raise QInsightError(f"{folder} already holds {what}; choose another --out, or empty it first")


def holds_files(folder: Path) -> bool:
    """Whether a folder holds any file besides those that file managers leave."""
    return any(path.name not in LEAVINGS and not path.name.startswith("._") for path in folder.iterdir())
