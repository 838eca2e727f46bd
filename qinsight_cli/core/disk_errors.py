"""What a disk refuses, as one line that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from qinsight_cli.core.errors import QInsightError


@contextmanager
def disk_errors(path: str | os.PathLike[str], hint: str = "") -> Iterator[None]:
    """OSError -> one line. A closed pipe is not the disk's fault and passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise QInsightError(f"cannot write {os.fspath(path)}: {error.strerror or error}{hint}") from error
