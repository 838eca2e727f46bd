"""Errors of the disk as one line that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from qinsight_cli.core.errors import QInsightError


@contextmanager
def disk_errors(path: str | os.PathLike[str], hint: str = "") -> Iterator[None]:
    """Turn an OSError into one line that names `path`. A closed pipe passes: it is no error of the disk."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise QInsightError(f"cannot write {os.fspath(path)}: {error.strerror or error}{hint}") from error
