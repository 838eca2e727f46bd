"""A folder of part files: the results of a job that many processes write, and its state for a later run.

`_job.json` holds the settings. A part holds the rows of some pictures. Its name is a digest of them, so the same work
done twice gives the same file. Rows without any answer (a broken picture, a silent server) are in `errors-` parts,
which a later run removes and asks again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qinsight_cli.core import storage
from qinsight_cli.core.csv_text import csv_line, unguarded
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.journal import changed_settings

JOB, PART, ERRORS, BROKEN = "_job.json", "part-", "errors-", "_broken-"
FORMATS = ("parquet", "csv", "jsonl")
INTEGERS = ("samples", "prompt_tokens", "completion_tokens")
LISTS = ("notes", "unread")


@dataclass(frozen=True)
class Parts:
    """The part files of a job.

    form      of the files: one of FORMATS
    pictures  the columns that name pictures
    columns   all columns of a part, including `key` (the SHA-256 of each picture, by role)
    numbers   the columns with floats
    """

    folder: str
    form: str
    pictures: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: tuple[str, ...]

    def write(self, rows: Sequence[Mapping[str, Any]], errors: bool = False) -> None:
        """Write one part with these rows, or none if there are no rows."""
        if not rows:
            return
        rows = [{name: _in_utf8(value) for name, value in row.items()} for row in rows]
        ids = sorted(f"{row_id(row, self.pictures):016x}" for row in rows)
        name = f"{ERRORS if errors else PART}{hashlib.sha256(''.join(ids).encode()).hexdigest()[:24]}.{self.form}"
        storage.write(storage.join(self.folder, name), self._bytes(rows))

    def _bytes(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        if self.form == "csv":
            return b"".join(
                csv_line(line) for line in [self.columns, *([r.get(c) for c in self.columns] for r in rows)]
            )
        if self.form == "jsonl":
            lines = [
                json.dumps({c: row.get(c) for c in self.columns}, ensure_ascii=False, default=float) for row in rows
            ]
            return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        import pyarrow
        import pyarrow.parquet

        plain = [{column: self._plain(column, row.get(column)) for column in self.columns} for row in rows]
        schema = pyarrow.schema([(column, self._type(column)) for column in self.columns])
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain, schema=schema), file)
        return file.getvalue()

    def _plain(self, column: str, value: Any) -> Any:
        if value is None or column in LISTS or column in INTEGERS:
            return value
        return float(value) if column in self.numbers else str(value)

    def _type(self, column: str) -> Any:
        import pyarrow

        if column in LISTS:
            return pyarrow.list_(pyarrow.string())
        if column in INTEGERS:
            return pyarrow.int64()
        return pyarrow.float64() if column in self.numbers else pyarrow.string()

    def claim(self, settings: Mapping[str, Any], restart: bool) -> None:
        """Start the job in its folder, or resume the one that is there.

        Raises QInsightError if that has other settings (each named, old -> new), or the folder holds other files.
        """
        storage.make_folder(self.folder)
        names = [_name(path) for path in storage.files_under(self.folder)]
        place = storage.join(self.folder, JOB)
        settings = json.loads(json.dumps({**settings, "form": self.form, "columns": list(self.columns)}))
        if JOB not in names:
            if names:
                raise QInsightError(f"{self.folder} holds {names[0]} but no job of qinsight: name an empty folder")
        elif restart:
            for name in names:
                if name.startswith((PART, ERRORS, BROKEN)):
                    storage.remove(storage.join(self.folder, name))
        else:
            self._compare(place, settings)
            return
        storage.write(place, json.dumps({"qinsight_job": 1, "settings": settings}, indent=1).encode())

    def _compare(self, place: str, settings: Mapping[str, Any]) -> None:
        try:
            old = json.loads(storage.read(place))["settings"]
            changed = changed_settings(old, settings)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise QInsightError(f"{place} is no job of qinsight: name another folder") from None
        if changed:
            raise QInsightError(
                f"{self.folder} was started with other settings ({', '.join(changed)}): "
                "give the same settings, another --out, or --restart to start over"
            )

    def done(self, say: Callable[[str], None]) -> Any:
        """The ids of the finished rows, a sorted array of uint64. Removes `errors-` parts.

        An incomplete part is renamed, and `say` gets a line: its pictures are asked again.
        """
        import numpy as np

        found: list[int] = []
        for path in storage.files_under(self.folder):
            name = _name(path)
            if name.startswith(ERRORS):
                storage.remove(path)
            elif name.startswith(PART):
                try:
                    found += [row_id(row, self.pictures) for row in self.read(path)]
                except QInsightError as error:
                    storage.move(path, storage.join(self.folder, f"{BROKEN}{name}"))
                    say(f"{error}; renamed to {BROKEN}{name}, its pictures are asked again")
        return np.unique(np.array(found, dtype=np.uint64))

    def read(self, path: str, columns: Collection[str] = ()) -> list[dict[str, Any]]:
        """The rows of a part: the columns that identify a row, and `columns`. Raises QInsightError if it is
        incomplete."""
        data = storage.read(path)
        try:
            rows = self._rows(data, [*self.pictures, "key", *columns])
        except Exception:  # readers raise almost any exception for half a file
            raise QInsightError(f"{path} is no whole {self.form} file") from None
        if not all("key" in row for row in rows):
            raise QInsightError(f"{path} has rows without a key")
        return rows

    def _rows(self, data: bytes, columns: list[str]) -> list[dict[str, Any]]:
        if self.form == "parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(io.BytesIO(data), columns=columns).to_pylist()
        if not data.endswith(b"\n"):
            raise ValueError("the last line is cut short")
        text = data.decode("utf-8")
        if self.form == "jsonl":
            return [json.loads(line) for line in text[:-1].split("\n")]
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        return [{name: unguarded(value) if value else None for name, value in row.items()} for row in table]

    def all_rows(self, columns: Collection[str]) -> Iterable[dict[str, Any]]:
        """Every row of the folder with these columns, including rows without an answer."""
        for path in storage.files_under(self.folder):
            if _name(path).startswith((PART, ERRORS)):
                yield from self.read(path, columns)


def _name(path: str) -> str:
    """The last part of a path or a URL."""
    return path.replace("\\", "/").rpartition("/")[2]


def _in_utf8(value: Any) -> Any:
    """Text that UTF-8 can hold; a file name may be no such text."""
    if isinstance(value, list):
        return [_in_utf8(each) for each in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def row_id(row: Mapping[str, Any], pictures: Iterable[str]) -> int:
    """A 64-bit id of a row, from the names and the contents of its pictures."""
    named = json.dumps([_in_utf8(row.get(column) or "") for column in (*pictures, "key")])
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big")
