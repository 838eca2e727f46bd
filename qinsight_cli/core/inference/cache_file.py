"""The SQLite file of the answer cache: its path, its tables, its largest size, and what happens to a damaged file."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from qinsight_cli.core.errors import QInsightError

FILE = "answers-1.sqlite"  # the number is that of the table layout
FOLDER_VARIABLE = "QINSIGHT_CACHE"
MEGABYTE = 1_000_000
DEFAULT_BYTES = 200 * MEGABYTE
PATIENCE = 5.0  # seconds to wait for another writer
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, scope BLOB NOT NULL, question BLOB NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL,
    day INTEGER NOT NULL, UNIQUE (scope, question));
CREATE INDEX IF NOT EXISTS by_day ON answers (day, id);
CREATE TABLE IF NOT EXISTS bound (bytes INTEGER NOT NULL);
"""


def cache_file() -> Path:
    """The path of the cache: in the folder QINSIGHT_CACHE, or in the system's folder for caches.

    Raises QInsightError if the user has no home folder, as in some containers.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(os.path.expanduser(given)) / FILE
    if os.name == "nt":
        return (_in_environment("LOCALAPPDATA") or _home() / "AppData" / "Local") / "qinsight" / FILE
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "qinsight" / FILE
    return (_in_environment("XDG_CACHE_HOME") or _home() / ".cache") / "qinsight" / FILE


def _in_environment(variable: str) -> Path | None:
    given = os.environ.get(variable)
    return Path(given) if given else None


def _home() -> Path:
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():
        raise QInsightError(f"this user has no home folder for the answer cache; name a folder in {FOLDER_VARIABLE}")
    return home


@dataclass(frozen=True)
class CacheFacts:
    """The content of a cache file: answers, the number of their models and settings, its bytes and largest size."""

    answers: int
    scopes: int
    size: int
    bound: int


def open_database(path: Path) -> sqlite3.Connection:
    """The database of a cache file, created if it is missing. Raises sqlite3.Error."""
    database = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = NORMAL")
        tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('answers', 'by_day', 'bound')")
        if tables.fetchone() != (3,):  # a complete file is not written: its disk may be read-only
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # works only in a new file
            with transaction(database):
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def set_aside(path: Path, place: tuple[int, int] | None = None) -> Path:
    """Rename a damaged cache file, unless another file has replaced the one at `place` (device, inode)."""
    aside = path.with_name(path.name + ".broken")
    with suppress(FileNotFoundError):
        status = os.stat(path)
        if place in (None, (status.st_dev, status.st_ino)):
            os.replace(path, aside)
            with suppress(FileNotFoundError):
                os.unlink(f"{path}-journal")  # SQLite's own journal of the damaged file
    return aside


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
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
    """The largest size of the file, in bytes."""
    return _number(database, "SELECT bytes FROM bound LIMIT 1") or DEFAULT_BYTES


def shrink(database: sqlite3.Connection) -> None:
    """Bring a file that is over its bound down to 9/10 of it: remove the least recently used answers, a tenth at a
    time."""
    page, bound = _number(database, "PRAGMA page_size"), bound_of(database)
    if _number(database, "PRAGMA page_count") * page <= bound:
        return
    with transaction(database):
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
    """The content of the cache, after `clear` has removed all answers or `bound` has set the largest size in bytes.

    Raises QInsightError if the file cannot be read or written.
    """
    path = cache_file()
    if not path.exists() and bound is None:
        return CacheFacts(0, 0, 0, DEFAULT_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = open_database(path)
        try:
            if clear:
                with transaction(database):
                    database.execute("DELETE FROM answers")
                database.executescript("PRAGMA incremental_vacuum")
            if bound is not None:
                with transaction(database):
                    database.execute("DELETE FROM bound")
                    database.execute("INSERT INTO bound VALUES (?)", (bound,))
                shrink(database)
            answers = _number(database, "SELECT count(*) FROM answers")
            scopes = _number(database, "SELECT count(DISTINCT scope) FROM answers")
            return CacheFacts(answers, scopes, path.stat().st_size, bound_of(database))
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        read_only = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
        way_out = f"name another folder in {FOLDER_VARIABLE}" if read_only else f"remove {path}"
        raise QInsightError(f"the answer cache {path} cannot be used: {error}; {way_out}") from None
