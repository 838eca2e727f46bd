"""Files on this machine or in an object store (s3://, gs://), through fsspec.

Local files are written atomically; an object store has no half-written objects.
"""

from __future__ import annotations

import os
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import install
from qinsight_cli.core.files import write_atomically

REMOTE = ("s3://", "gs://")


def is_remote(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).startswith(REMOTE)


def file_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path, and the path in it. Raises QInsightError when its package is missing."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except ImportError:
        raise QInsightError(f"{path}: {path.partition(':')[0]}:// needs another package: {install('cloud')}") from None


def read(path: str, start: int = 0, length: int | None = None) -> bytes:
    """The bytes of a file. Raises OSError for every failure, FileNotFoundError if there is no such file."""
    system, inside = file_system(path)
    try:
        return system.cat_file(inside, start=start, end=None if length is None else start + length)
    except OSError:
        raise
    except Exception as error:  # each store has its own errors
        raise OSError(f"{type(error).__name__}: {error}") from None


def write(path: str, data: bytes) -> None:
    """Write a whole file. Raises QInsightError."""
    if not is_remote(path):
        with write_atomically(path) as file:
            file.write(data)
        return
    system, inside = file_system(path)
    try:
        system.pipe_file(inside, data)
    except Exception as error:
        raise QInsightError(f"cannot write {path}: {type(error).__name__}: {error}") from None


def files_under(folder: str) -> list[str]:
    """The path of every file under a folder; empty if there is no such folder. Raises QInsightError."""
    system, inside = file_system(folder)
    scheme = folder.partition("://")[0] + "://" if is_remote(folder) else ""
    try:
        system.invalidate_cache()
        return sorted(scheme + name for name in system.find(inside))
    except FileNotFoundError:
        return []
    except Exception as error:
        raise QInsightError(f"cannot list {folder}: {type(error).__name__}: {error}") from None


def make_folder(folder: str) -> None:
    """Make a local folder; object stores have none. Raises QInsightError."""
    if is_remote(folder):
        return
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise QInsightError(f"cannot make the folder {folder}: {error.strerror or error}") from None


def move(path: str, to: str) -> None:
    system, inside = file_system(path)
    system.mv(inside, file_system(to)[1])


def remove(path: str) -> None:
    system, inside = file_system(path)
    system.rm_file(inside)


def join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)
