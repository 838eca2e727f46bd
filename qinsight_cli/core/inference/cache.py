"""Answers kept from one command to the next, in one SQLite file in the user's cache folder.

An answer is found by the bytes of its pictures and everything else that decides it. The file is a help and no record:
what is wrong with it costs one line, and the command goes on without it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError

Record = dict[str, Any]
FILE = "answers-1.sqlite"  # another number for another layout of its tables
FOLDER_VARIABLE, OFF_VARIABLE = "QINSIGHT_CACHE", "QINSIGHT_NO_CACHE"
MEGABYTE = 1_000_000
USUAL_BYTES = 200 * MEGABYTE
PATIENCE = 5.0  # seconds to wait for another process that writes
READERS = ("rawpy", "pillow-heif")  # packages that decode pictures where they are installed
# The packages whose source decides what is answered, and the modules of this one that do.
DECIDING = ("engines", "images", "models", "tasks")
DECIDING_HERE = ("assess.py", "prefetch.py", "distributions.py")
_BROKEN = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, scope BLOB NOT NULL, question BLOB NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL,
    day INTEGER NOT NULL, UNIQUE (scope, question));
CREATE INDEX IF NOT EXISTS by_day ON answers (day, id);
CREATE TABLE IF NOT EXISTS bound (bytes INTEGER NOT NULL);
"""


def cache_file() -> Path:
    """Where answers are kept: in QINSIGHT_CACHE, or in the folder for caches of this system."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser() / FILE
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "qinsight" / FILE


def scope_of(settings: Mapping[str, Any], max_image_pixels: int) -> bytes | None:
    """The digest of everything besides the pictures that decides an answer.

    settings  of `assess.settings_of`. The name of the model does not count, its weights and files do.
    None for a model whose weights are not known: an endpoint may change them behind its name.
    """
    model = {name: value for name, value in settings["model"].items() if name != "model"}
    if "weights" not in model:
        return None
    readers = {name: _version(name) for name in READERS}
    whole = {**settings, "model": model, "limit": max_image_pixels, "readers": readers, "source": source_digest()}
    if settings["decoding"]["temperature"] == 0:
        whole["seed"] = None  # nothing is drawn
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@functools.cache
def source_digest() -> str:
    """Of the source that decides answers: a corrected line gives another answer under the same version number."""
    here = Path(__file__).parent
    files = [path for name in DECIDING for path in sorted((here.parent / name).rglob("*.py"))]
    whole = hashlib.sha256()
    for path in [*files, *(here / name for name in DECIDING_HERE)]:
        with suppress(OSError):  # a package without sources has its version number alone
            whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


@dataclass(frozen=True)
class CacheFacts:
    """What a cache file holds: answers, under how many settings, its bytes and the most it may have."""

    answers: int
    scopes: int
    size: int
    bound: int


class AnswerCache:
    """The answers of one scope (`scope_of`). No method raises: `say` gets one line when the file cannot be used.

    Any thread may call it; several processes may have the file open. A torn file is set aside and begun anew.
    """

    def __init__(self, scope: bytes, say: Callable[[str], None], path: Path | None = None) -> None:
        self._scope, self._say = scope, say
        self._path = path or cache_file()
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None
        self._busy = False
        self._read_today: set[bytes] = set()
        with self._guarded():
            self._open()

    def __bool__(self) -> bool:
        """Whether there is any answer of this scope."""
        with self._guarded() as database:
            if database is not None:
                rows = database.execute("SELECT 1 FROM answers WHERE scope = ? LIMIT 1", (self._scope,))
                return rows.fetchone() is not None
        return False

    def get(self, question: str) -> Record | None:
        """The record kept for a question, None without one."""
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
        """Keep the records of some questions; the answers longest out of use go when the file gets too large."""
        rows = []
        for question, record in records.items():
            asked, value = hashlib.sha256(question.encode()).digest(), json.dumps(record).encode()
            rows.append((self._scope, asked, value, self._digest(asked, value), _today()))
        with self._guarded() as database:
            if database is None:
                return
            with _transaction(database):
                database.executemany(
                    "INSERT OR REPLACE INTO answers (scope, question, value, digest, day) VALUES (?, ?, ?, ?, ?)", rows
                )
                self._mark_read(database)
            shrink(database)

    def close(self) -> None:
        with self._guarded() as database:
            if database is not None and self._read_today:
                with _transaction(database):
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
        """The connection, for one thread at a time; whatever goes wrong with it ends here."""
        with self._lock:
            try:
                yield self._database
            except (OSError, sqlite3.Error, ValueError, RecursionError) as error:
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
                if isinstance(error, OSError) or code not in {*_BROKEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    self._give_up(f"{self._path}: {error}")
                elif code in _BROKEN:
                    self._set_aside()
                elif not self._busy:
                    self._busy = True
                    self._say("the answer cache is busy: some answers are asked again or not kept")

    def _give_up(self, why: str) -> None:
        self._disconnect()
        self._say(f"no answers are kept or found again, the cache cannot be used: {why}")

    def _disconnect(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None

    def _set_aside(self) -> None:
        """Rename a torn file, unless another process has done so, and begin anew."""
        self._disconnect()
        try:
            aside = set_aside(self._path, self._place)
            self._open()
        except (OSError, sqlite3.Error) as error:
            self._give_up(f"{self._path}: {error}")
            return
        self._say(f"the answer cache was damaged; it is set aside as {aside}, and begun anew")


def _today() -> int:
    return int(time.time() // 86400)


def open_database(path: Path) -> sqlite3.Connection:
    """The database of a cache file, made if need be. Raises sqlite3.Error."""
    database = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes hold in a new file
        database.execute("PRAGMA synchronous = NORMAL")
        tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('answers', 'by_day', 'bound')")
        if tables.fetchone() != (3,):
            with _transaction(database):
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def set_aside(path: Path, place: tuple[int, int] | None = None) -> Path:
    """Rename a torn cache file. What another file has taken the `place` (device, inode) of stays."""
    aside = path.with_name(path.name + ".broken")
    with suppress(FileNotFoundError):
        status = os.stat(path)
        if place in (None, (status.st_dev, status.st_ino)):
            os.replace(path, aside)
            with suppress(FileNotFoundError):
                os.unlink(f"{path}-journal")  # it belongs to the torn file
    return aside


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def _number(database: sqlite3.Connection, question: str) -> int:
    row = database.execute(question).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def bound_of(database: sqlite3.Connection) -> int:
    """The most bytes that the file may have."""
    return _number(database, "SELECT bytes FROM bound LIMIT 1") or USUAL_BYTES


def shrink(database: sqlite3.Connection) -> None:
    """Remove the answers longest out of use, a tenth at a time, from a file above its bound, down to 9/10 of that."""
    page, bound = _number(database, "PRAGMA page_size"), bound_of(database)
    if _number(database, "PRAGMA page_count") * page <= bound:
        return
    with _transaction(database):
        while held := _number(database, "SELECT count(*) FROM answers"):
            pages = _number(database, "PRAGMA page_count") - _number(database, "PRAGMA freelist_count")
            if pages * page <= 0.9 * bound:
                break
            database.execute(
                "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY day, id LIMIT ?)",
                (max(1, held // 10),),
            )
    database.executescript("PRAGMA incremental_vacuum")


def manage(clear: bool = False, bound: int | None = None) -> CacheFacts:
    """What the cache holds, after `clear` removed all answers or `bound` set the most bytes that it may have.

    Raises QInsightError when the file cannot be read or written.
    """
    path = cache_file()
    if not path.exists() and bound is None:
        return CacheFacts(0, 0, 0, USUAL_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = open_database(path)
        try:
            if clear:
                with _transaction(database):
                    database.execute("DELETE FROM answers")
                database.executescript("PRAGMA incremental_vacuum")
            if bound is not None:
                with _transaction(database):
                    database.execute("DELETE FROM bound")
                    database.execute("INSERT INTO bound VALUES (?)", (bound,))
                shrink(database)
            answers = _number(database, "SELECT count(*) FROM answers")
            scopes = _number(database, "SELECT count(DISTINCT scope) FROM answers")
            return CacheFacts(answers, scopes, path.stat().st_size, bound_of(database))
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise QInsightError(f"the answer cache {path} cannot be used: {error}; remove the file") from None
