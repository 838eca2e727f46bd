"""A folder of results in parts: what a job that many processes write leaves behind, and where it goes on.

`_job.json` holds the settings. A part holds the rows of some pictures, and its name is made of them, so that the same
work done twice gives the same file. Rows without any answer (a broken picture, a silent server) are in `errors-` parts,
which a job that goes on removes and asks again.
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
    """Where a job writes, in what form.

    pictures  the columns that name pictures
    columns   all columns of a part, `key` (the SHA-256 of each picture, by role) among them
    numbers   those that are floats
    """

    folder: str
    form: str
    pictures: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: tuple[str, ...]

    def write(self, rows: Sequence[Mapping[str, Any]], errors: bool = False) -> None:
        """One part with these rows; none without rows."""
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
        """Begin the job in its folder, or go on with the one that is there.

        Raises QInsightError when that has other settings (each named, old -> new), or the folder holds anything else.
        """
        storage.make_folder(self.folder)
        names = [path.replace("\\", "/").rpartition("/")[2] for path in storage.files_under(self.folder)]
        place = storage.join(self.folder, JOB)
        settings = json.loads(json.dumps({**settings, "form": self.form, "columns": list(self.columns)}))
        if JOB not in names:
            if names:
                raise QInsightError(f"{self.folder} holds {names[0]} and no job of qinsight: name an empty folder")
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
                f"{self.folder} was begun under other settings ({', '.join(changed)}): "
                "give the same settings, another --out, or --restart to begin again"
            )

    def done(self, say: Callable[[str], None]) -> Any:
        """The ids of the rows that are there, a sorted array of uint64; `errors-` parts are removed.

        A part that cannot be read, because it was cut short, is put aside and told to `say`; its pictures are asked
        again.
        """
        import numpy as np

        found: list[int] = []
        for path in storage.files_under(self.folder):
            name = path.replace("\\", "/").rpartition("/")[2]
            if name.startswith(ERRORS):
                storage.remove(path)
            elif name.startswith(PART):
                try:
                    found += [row_id(row, self.pictures) for row in self.read(path)]
                except QInsightError as error:
                    storage.move(path, storage.join(self.folder, f"{BROKEN}{name}"))
                    say(f"{error}; put aside as {BROKEN}{name}, its pictures are asked again")
        return np.unique(np.array(found, dtype=np.uint64))

    def read(self, path: str, columns: Collection[str] = ()) -> list[dict[str, Any]]:
        """The rows of a part, all columns or those that name it. Raises QInsightError when it is not whole."""
        data = storage.read(path)
        try:
            rows = self._rows(data, [*self.pictures, "key", *columns])
        except Exception as error:  # readers raise almost anything on half a file
            raise QInsightError(f"{path} cannot be read ({type(error).__name__})") from None
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
        """Every row of the folder with these columns, those without an answer too."""
        for path in storage.files_under(self.folder):
            if path.replace("\\", "/").rpartition("/")[2].startswith((PART, ERRORS)):
                yield from self.read(path, columns)


def _in_utf8(value: Any) -> Any:
    """Text without what a file name may hold and UTF-8 may not."""
    if isinstance(value, list):
        return [_in_utf8(each) for each in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def row_id(row: Mapping[str, Any], pictures: Iterable[str]) -> int:
    """What tells a row from all others, 64 bits: the names and the contents of its pictures."""
    named = json.dumps([_in_utf8(row.get(column) or "") for column in (*pictures, "key")])
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big")
