"""Checks of output names and paths: no input, no file that qinsight did not write, no mistyped name is overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from qinsight_cli.core.disk_errors import disk_errors
from qinsight_cli.core.errors import QInsightError, UsageError

HEAD = 1 << 16  # bytes of a file that show whether qinsight wrote it


def check_output_name(name: str | os.PathLike[str], option: str) -> None:
    """Raise UsageError for an output without a name, or for a new file or folder that looks like an option.

    Such a name comes from a forgotten value (`--out --resume`), and every other program takes it for an option.
    """
    text = os.fspath(name)
    if not text.strip():
        raise UsageError(f"{option} is empty; name a file or folder")
    if "\0" in text:
        raise UsageError(f"{option} {text!r}: a name cannot hold a NUL character")
    path = Path(text)
    new = (part for part in (path, *path.parents) if not os.path.lexists(part))
    if text.startswith("-") or any(part.name.startswith("-") for part in new):
        raise UsageError(f"{option} {text}: a name that begins with - looks like an option; give another name")


def check_output(
    path: str,
    ours: Callable[[bytes], bool] = lambda head: True,
    force: bool = False,
    inputs: Iterable[str] = (),
) -> None:
    """Raise QInsightError, before any work is done, if `path` cannot or must not become an output file.

    ours    the first bytes of an existing file -> whether qinsight wrote it; another file is replaced only with `force`
    inputs  files that are never replaced, under whatever name
    """
    if not os.path.basename(path):
        raise QInsightError(f"an output file needs a name, and {path!r} has none; add a file name")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise QInsightError(f"cannot write {path}: there is no folder {folder}; make it first")
    if os.path.isdir(path):
        raise QInsightError(f"cannot write {path}: it is a folder; name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise QInsightError(f"cannot write {path}: it is not a regular file; for standard output give -")
    if not os.access(folder, os.W_OK):
        raise QInsightError(f"cannot write {path}: no permission to write in {folder}")
    if _is_among(path, inputs):
        raise QInsightError(f"cannot write {path}: this command reads it; give another name")
    if os.path.exists(path) and not force and not ours(_head(path)):
        raise QInsightError(
            f"cannot write {path}: it exists and is no output of this command; "
            "give another name, or --force to replace it"
        )


def same_file(first: str, second: str) -> bool:
    """Whether two names mean the same file, existing or not."""
    try:
        return os.path.samestat(os.stat(first), os.stat(second))
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            return os.path.realpath(first) == os.path.realpath(second)
        return False


def _is_among(path: str, inputs: Iterable[str]) -> bool:
    """`same_file` for any of very many."""
    try:
        place = os.stat(path)
    except OSError:
        name = os.path.basename(path)
        return any(os.path.basename(given) == name and same_file(path, given) for given in inputs)
    for given in inputs:
        with suppress(OSError, ValueError):
            if os.path.samestat(place, os.stat(given)):
                return True
    return False


def _head(path: str) -> bytes:
    with disk_errors(path), open(path, "rb") as file:
        return file.read(HEAD)
