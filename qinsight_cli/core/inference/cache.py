"""The cache of answers: one SQLite file in the user's cache folder that all commands share.

An answer is found by the bytes of its pictures and every setting that affects it. The cache only saves time: if it
fails, the user gets one line and the command continues without it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import installed_version
from qinsight_cli.core.inference.cache_file import cache_file, open_database, set_aside, shrink, transaction

Record = dict[str, Any]
OFF_VARIABLE = "QINSIGHT_NO_CACHE"
READERS = ("rawpy", "pillow-heif")  # optional packages that decode pictures
# The packages whose source affects answers, and the modules of this package that do.
DECIDING = ("engines", "images", "models", "tasks")
DECIDING_HERE = ("assess.py", "prefetch.py", "distributions.py")
_BROKEN = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL}


def scope_of(settings: Mapping[str, Any], max_image_pixels: int) -> bytes | None:
    """The digest of everything that affects an answer, without its pictures.

    settings  of `assess.settings_of`; of the model only its weights and files count, not its name
    None for a model with unknown weights: an endpoint may change them under the same name.
    """
    model = {name: value for name, value in settings["model"].items() if name != "model"}
    if "weights" not in model:
        return None
    readers = {name: installed_version(name) or "" for name in READERS}
    whole = {**settings, "model": model, "limit": max_image_pixels, "readers": readers, "source": source_digest()}
    if settings["decoding"]["temperature"] == 0:
        whole["seed"] = None  # nothing is drawn
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


@functools.cache
def source_digest() -> str:
    """The digest of the source that affects answers, which can change under the same version number."""
    here = Path(__file__).parent
    files = [path for name in DECIDING for path in sorted((here.parent / name).rglob("*.py"))]
    whole = hashlib.sha256()
    for path in [*files, *(here / name for name in DECIDING_HERE)]:
        with suppress(OSError):  # a package without its sources has only its version number
            whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


class AnswerCache:
    """The answers of one scope (`scope_of`). No method raises; `say` gets one line if the file cannot be used.

    It is safe for threads and processes. A damaged file is renamed and replaced by an empty one.
    """

    def __init__(self, scope: bytes, say: Callable[[str], None], path: Path | None = None) -> None:
        self._scope, self._say = scope, say
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None
        self._busy = self._read_only = False  # whether the user was told so
        self._read_today: set[bytes] = set()
        try:
            self._path = path or cache_file()
        except QInsightError as error:
            self._give_up(str(error))
            return
        with self._guarded():
            self._open()

    def __bool__(self) -> bool:
        """Whether the cache has an answer of this scope."""
        with self._guarded() as database:
            if database is not None:
                rows = database.execute("SELECT 1 FROM answers WHERE scope = ? LIMIT 1", (self._scope,))
                return rows.fetchone() is not None
        return False

    def get(self, question: str) -> Record | None:
        """The record of a question; None if there is none."""
        asked = hashlib.sha256(question.encode()).digest()
        with self._guarded() as database:
            if database is None:
                return None
            row = database.execute(
                "SELECT value, digest, day FROM answers WHERE scope = ? AND question = ?", (self._scope, asked)
            ).fetchone()
            if row is None:
                return None
            value, digest, day = row
            if not isinstance(value, bytes) or digest != self._digest(asked, value):
                raise sqlite3.DatabaseError("an answer has other bytes than were written")
            if day != _today():
                self._read_today.add(asked)
            return json.loads(value)
        return None

    def put(self, records: Mapping[str, Record]) -> None:
        """Keep the records of some questions. If the file gets too large, the least recently used answers go."""
        rows = []
        for question, record in records.items():
            asked, value = hashlib.sha256(question.encode()).digest(), json.dumps(record).encode()
            rows.append((self._scope, asked, value, self._digest(asked, value), _today()))
        with self._guarded() as database:
            if database is None or self._read_only:
                return
            with transaction(database):
                database.executemany(
                    "INSERT OR REPLACE INTO answers (scope, question, value, digest, day) VALUES (?, ?, ?, ?, ?)", rows
                )
                self._mark_read(database)
            shrink(database)

    def close(self) -> None:
        with self._guarded() as database:
            if database is not None and self._read_today and not self._read_only:
                with transaction(database):
                    self._mark_read(database)
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _digest(self, asked: bytes, value: bytes) -> bytes:
        return hashlib.sha256(self._scope + asked + value).digest()[:16]

    def _mark_read(self, database: sqlite3.Connection) -> None:
        marks = [(_today(), self._scope, asked) for asked in self._read_today]
        database.executemany("UPDATE answers SET day = ? WHERE scope = ? AND question = ?", marks)
        self._read_today.clear()

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = open_database(self._path)
        status = os.stat(self._path)
        self._place = (status.st_dev, status.st_ino)

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, for one thread at a time. All errors of the database end here."""
        with self._lock:
            try:
                yield self._database
            except (OSError, sqlite3.Error, ValueError, RecursionError) as error:
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
                if not isinstance(error, OSError) and code in _UNWRITABLE:
                    self._read_only = True
                    self._say(f"the answer cache cannot be written, new answers are not kept: {self._path}: {error}")
                elif isinstance(error, OSError) or code not in {*_BROKEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    self._give_up(f"{self._path}: {error}")
                elif code in _BROKEN:
                    self._set_aside()
                elif not self._busy:
                    self._busy = True
                    self._say("the answer cache is busy: some known answers are computed again, or not kept")

    def _give_up(self, why: str) -> None:
        self._disconnect()
        self._say(f"the answer cache cannot be used, every answer is computed: {why}")

    def _disconnect(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None

    def _set_aside(self) -> None:
        """Rename a damaged file, unless another process has done so, and start an empty one."""
        self._disconnect()
        try:
            aside = set_aside(self._path, self._place)
            self._open()
        except (OSError, sqlite3.Error) as error:
            self._give_up(f"{self._path}: {error}")
            return
        self._say(f"the answer cache was damaged: it was renamed to {aside}, and an empty one was started")


def _today() -> int:
    return int(time.time() // 86400)
