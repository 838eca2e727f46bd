"""From a CSV table of pairs to the questions of `compare`."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from qinsight_cli.core.data.label_tables import unique_header
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import on_disk

PAIR, REFERENCE = ("image_a", "image_b"), "reference"
DELIMITERS = ",;\t"
_GUARDED = tuple(f"'{sign}" for sign in "=+-@\t\r\0 \n\uff1d\uff0b\uff0d\uff20")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_pairs(path: Path) -> list[dict[str, str]]:
    """A CSV with columns image_a,image_b[,reference] -> items. A relative name is looked up in the CSV's folder first.

    Commas, semicolons or tabs; spaces around names, lines without a name, upper case in the header, a byte order mark,
    and further columns (as in what `compare --csv` writes) do no harm.
    Raises QInsightError naming the missing column, the line without an image, or why the file cannot be read.
    """
    try:
        reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, delimiter=_delimiter(_text(path)))
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise QInsightError(f"{path} is not a CSV file in UTF-8: {error}") from None
    filled = [(line, row) for line, row in rows if any(row)]
    places = _columns(path, filled[0][1] if filled else [])
    items = [_item(path, line, row, places) for line, row in filled[1:]]
    if not items:
        raise QInsightError(f"{path} holds no pairs")
    return items


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise QInsightError(f"cannot read {path}: {error.strerror or error}") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise QInsightError(f"{path} is not a CSV file in UTF-8: {error}; save it as UTF-8") from None


def _delimiter(text: str) -> str:
    """What parts the header."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=header.count)


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Role -> its column."""
    names = unique_header(path, [name.lower() for name in header])
    for role in PAIR:
        if role not in names:
            seen = ", ".join(header) or "no header"
            raise QInsightError(f"{path} has no column {role}; it needs image_a,image_b[,reference] and has {seen}")
    return {role: names.index(role) for role in (*PAIR, REFERENCE) if role in names}


def _item(path: Path, line: int, row: Sequence[str], places: dict[str, int]) -> dict[str, str]:
    item = {}
    for role, place in places.items():
        name = row[place] if place < len(row) else ""
        if name:
            item[role] = _found(path, name)
        elif role in PAIR:
            raise QInsightError(f"{path}, line {line}: no {role}")
    return item


def _found(path: Path, name: str) -> str:
    """A name in the table -> its file, in the table's folder or the working directory."""
    spellings = [name, name[1:]] if name.startswith(_GUARDED) else [name]  # the guard of our own CSV files
    for spelling in spellings:
        for candidate in (os.path.join(path.parent, spelling), spelling):
            if os.path.lexists(found := on_disk(candidate)):
                return found
    return name
