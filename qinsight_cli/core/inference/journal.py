"""Results that survive a crash: an append-only JSONL journal.

The first line is a header with the settings of the results. Every other line is one result under its key. A batch is
acknowledged once it is fsynced. An incomplete last line, after a kill or a power cut, is dropped on reading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from qinsight_cli.core.disk_errors import disk_errors
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import AGAIN, NO_LINK, open_locked, read_at, sync_folder
from qinsight_cli.core.output_checks import check_output

LONGEST_LINE = 1 << 26  # bytes; qinsight never writes a longer line
_MAGIC = b'{"qinsight_journal": 1, "settings": '


def journal_path(output: str) -> str:
    """The path of the journal of an output file, in the same folder."""
    return f"{output}.journal.jsonl"


class Journal:
    """An open journal, locked against other processes; use it as a context manager.

    It has `len(journal)` results, and `key in journal` says whether it has one. Results are read from the file on
    demand, so memory holds only keys and positions.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], restart: bool = False) -> None:
        """Open or start the journal at `path` for these settings (JSON values). `restart` removes its results.

        Raises QInsightError if it has other settings (each named, old -> new), if another process uses it, if the file
        is no journal, or if it cannot be written.
        """
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        check_output(path)
        with disk_errors(path, AGAIN):
            self._descriptor = open_locked(path, path, NO_LINK)
        try:
            with disk_errors(path, AGAIN):
                self._begin(_flat(settings), restart)
        except BaseException:
            self.close()
            raise

    def _begin(self, settings: dict[str, Any], restart: bool) -> None:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            first = file.readline(LONGEST_LINE)
            if restart and first.startswith(_MAGIC):  # never another file
                os.ftruncate(self._descriptor, 0)
                first = b""
            self._end = len(first) if first.endswith(b"\n") else 0
            if self._end:
                self._check(first, settings)
                self._read(file)
            elif not (_MAGIC.startswith(first) or first.startswith(_MAGIC)):
                raise QInsightError(f"{self.path} is not a journal of qinsight; move it away")
        os.ftruncate(self._descriptor, self._end)
        if not self._end:
            self._append(_MAGIC + _line(settings)[:-1] + b"}\n")
            sync_folder(os.path.dirname(self.path))

    def _check(self, first: bytes, settings: dict[str, Any]) -> None:
        try:
            old = json.loads(first)["settings"] if first.startswith(_MAGIC) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            old = None
        if not isinstance(old, dict):
            raise QInsightError(f"{self.path} is not a journal of qinsight; move it away")
        changed = changed_settings(old, settings)
        if changed:
            raise QInsightError(
                f"{self.path} was started with other settings ({', '.join(changed)}): "
                "give the same settings, another output file, or --restart to start over"
            )

    def _read(self, file: BinaryIO) -> None:
        """Read the lines before the first incomplete one. No later line was acknowledged."""
        while line := file.readline(LONGEST_LINE):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else {}
                whole = isinstance(entry["key"], str) and isinstance(entry["record"], dict)
                key = entry["key"]
            except (ValueError, TypeError, KeyError, RecursionError):
                return
            if not whole:
                return
            self._places[key] = (self._end, len(line))
            self._end += len(line)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> dict[str, Any]:
        start, length = self._places[key]
        with disk_errors(self.path, AGAIN):
            return json.loads(read_at(self._descriptor, length, start))["record"]

    def append(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Write {key: record} as one batch and fsync it. After a QInsightError (disk full) the earlier batches
        remain."""
        lines = {key: _line({"key": key, "record": record}) for key, record in records.items()}
        position = self._end
        with disk_errors(self.path, AGAIN):
            self._append(b"".join(lines.values()))
        for key, line in lines.items():
            self._places[key] = (position, len(line))
            position += len(line)

    def _append(self, data: bytes) -> None:
        try:
            os.lseek(self._descriptor, self._end, os.SEEK_SET)
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)

    def discard(self) -> None:
        """Remove the file, after all its results are in the output."""
        if os.name == "nt":
            self.close()  # Windows cannot remove an open file
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each setting that differs, as "name old -> new". Settings are JSON values, nested or not."""
    before, after = _flat(old), _flat(json.loads(json.dumps(new)))
    return [
        f"{key} {before.get(key, '(none)')} -> {after.get(key, '(none)')}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode() + b"\n"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}, to name a single changed setting and not its whole group."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
