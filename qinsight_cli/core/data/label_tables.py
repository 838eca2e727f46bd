"""Label tables of all kinds -> rows of text: CSV, white space, Excel sheets, JSON records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.source_files import other_header
from qinsight_cli.core.data.table_files import read_table, sheet_lines, unique_header
from qinsight_cli.core.encodings import read_bytes, read_text
from qinsight_cli.core.errors import QInsightError


def read_csv(path: Path, name: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """("FILE, line N", {column: text}) for each row with anything in it; names and texts are stripped.

    Raises QInsightError if a needed column is missing, naming the header found and the dataset it belongs to.
    """
    table = read_table(path)
    if any(table.column(column) is None for column in needed):
        raise other_header(path, name, ",".join(needed), table.header)
    return table.records(needed)


def read_words(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """("FILE, line N", words) of a text without header; commas or white space separate the words.

    Names must not contain spaces or commas, as in the authors' files. Raises QInsightError for a line with fewer than
    `columns` words.
    """
    for line_number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        where = f"{path.name}, line {line_number}"
        if len(words) < columns:
            raise QInsightError(
                f"{where}: {line.strip()[:60]!r} has fewer than {columns} columns; is it the authors' file?"
            )
        yield where, words


def read_sheet(
    path: Path, name: str, needed: Sequence[str], sheet: str | int = 0, header: int = 0
) -> Iterator[tuple[str, dict[str, str]]]:
    """("FILE, row N", {column: text}) for each row of an Excel sheet; `header` counts the rows above the header.

    Raises QInsightError if the file cannot be read, or the sheet or a needed column is missing.
    """
    lines = sheet_lines(path, read_bytes(path), sheet)[header:]
    columns = unique_header(path, lines[0][1] if lines else [])
    if any(column not in columns for column in needed):
        raise other_header(path, name, ",".join(needed), [column for column in columns if column])
    for number, cells in lines[1:]:
        row = dict(zip_longest(columns, cells[: len(columns)], fillvalue=""))
        if any(row[column] for column in needed):
            yield f"{path.name}, row {number}", row


def read_json(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON file: a list of objects, or one object a line, or one object.

    Raises QInsightError for anything else.
    """
    text = read_text(path)
    try:
        try:
            loaded = json.loads(text)
        except json.JSONDecodeError:
            loaded = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise QInsightError(f"cannot read {path} as JSON: {' '.join(str(error).split())}") from None
    records = loaded if isinstance(loaded, list) else [loaded]
    if not all(isinstance(record, dict) for record in records):
        raise QInsightError(f"{path} is not a list of JSON records; give the authors' file")
    return records
