"""Tables -> a header and rows of text: CSV with any separator, in UTF-8 or UTF-16, or an Excel sheet."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.names import same_name
from qinsight_cli.core.encodings import decode, read_bytes
from qinsight_cli.core.errors import QInsightError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_EXCEL, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # how the files begin
UNPACKED = 1 << 28  # bytes of an Excel file when unpacked; 100,000 rows take a tenth
LONGEST_CELL = 1 << 20  # characters
ROWS, CELLS = 1_048_576, 5_000_000  # of a sheet: as many rows as Excel has
_SEP_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # how Excel says which separator a CSV has
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Table:
    """The cells of a table, without empty lines.

    header  names of the columns, "1", "2", ... without a header; a column may have no name
    rows    ("FILE, line N", cells), as many cells as the header has
    kind    what it is, for messages, such as "separated by semicolons"
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    kind: str

    def column(self, name: str) -> int | None:
        """The place of a column by its name, or by its name in another case. Raises QInsightError if two fit."""
        if name in self.header:
            return self.header.index(name)
        places = [place for place, own in enumerate(self.header) if own and same_name(own) == same_name(name)]
        if len(places) > 1:
            both = " and ".join(repr(self.header[place]) for place in places)
            raise QInsightError(f"{self.path}: the column {name!r} could be {both}; write it exactly")
        return places[0] if places else None

    def records(self, names: Iterable[str], pictures: Iterable[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
        """(where, {column: text}) for each row, by the names in the header and those of `names` that fit a column.

        Texts are stripped, but not those of `pictures`: a file name may begin or end with a space.
        """
        pictures = set(pictures)
        places = {name: place for name in (*names, *pictures) if (place := self.column(name)) is not None}
        for where, cells in self.rows:
            row = {name: cell.strip() for name, cell in zip(self.header, cells, strict=True)}
            row |= {name: cells[place].strip() for name, place in places.items() if name not in pictures}
            yield where, row | {name: cells[place] for name, place in places.items() if name in pictures}


def read_table(path: Path, header: bool = True) -> Table:
    """The table in a file.

    Raises QInsightError for a file that cannot be read, a column name that appears twice, and a row with more cells
    than the header: an unquoted name with a separator in it gives such a row.
    """
    data = read_bytes(path)
    if data.startswith(_OLD_EXCEL):
        raise QInsightError(f"{path} is an Excel file of the old kind; save it as .xlsx or as CSV")
    excel = data.startswith(_EXCEL)
    kind, lines = ("a sheet of Excel", sheet_lines(path, data)) if excel else _text_lines(path, decode(data, str(path)))
    filled = [(number, cells) for number, cells in lines if any(map(str.strip, cells))]
    first = filled[0][1] if filled else []
    names = _without_empty_end(unique_header(path, first) if header else [str(n + 1) for n in range(len(first))])
    word = "row" if excel else "line"
    rows = []
    for number, cells in filled[1 if header else 0 :]:
        where = f"{path.name}, {word} {number}"
        if any(map(str.strip, cells[len(names) :])):
            raise QInsightError(
                f"{where}: {len(_without_empty_end(cells))} cells under {len(names)} columns ({kind}); put a name that "
                'holds the separator in "quotes"'
            )
        rows.append((where, tuple((cells + [""] * len(names))[: len(names)])))
    return Table(path, tuple(names), tuple(rows), kind)


def unique_header(path: Path, header: Iterable[object]) -> list[str]:
    """The names of a header, stripped. Raises QInsightError if a name appears twice, which would be ambiguous.

    Several columns may have no name: spreadsheets write such columns.
    """
    names = [str(name).strip() for name in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise QInsightError(f"{path} has two columns named {twice!r}; rename or remove one")
    return names


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    return list(cells[: max((place + 1 for place, cell in enumerate(cells) if cell.strip()), default=0)])


def _text_lines(path: Path, text: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """The separator in words, and (line number, cells) of each line."""
    stated = _SEP_LINE.match(text)
    text = text[stated.end() :] if stated else text
    separator = stated[1] if stated else _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        lines = [(reader.line_num + bool(stated), cells) for cells in reader]
    except csv.Error as error:
        where = f"line {reader.line_num + bool(stated)}"
        raise QInsightError(f"{path}, {where}, is not a line of CSV: {error}; check its quotes") from None
    finally:
        csv.field_size_limit(before)
    if separator == ";":  # where numbers are written with a comma, spreadsheets separate cells by semicolons
        lines = [(number, [_with_point(cell) for cell in cells]) for number, cells in lines]
    return f"separated by {SEPARATORS.get(separator, repr(separator))}", lines


def _separator(text: str) -> str:
    """The separator that gives the first line with text the most cells; a quoted name may span lines."""
    unquoted = re.sub(r'"[^"]*"', '""', text[:LONGEST_CELL])
    first = next((line for line in unquoted.splitlines() if line.strip()), "")
    return max(SEPARATORS, key=first.count)


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell.strip()) else cell


def sheet_lines(path: Path, data: bytes, sheet: str | int = 0) -> list[tuple[int, list[str]]]:
    """(row number, cells) of a sheet of an Excel file, by its name or its place. Raises QInsightError."""
    import openpyxl  # type: ignore[import-untyped,unused-ignore]

    _check_unpacked(path, data)
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        cells: Any = book[sheet] if isinstance(sheet, str) else book.worksheets[sheet]
        cells.reset_dimensions()  # the size that the file states may be absurd
        rows, total = [], 0
        for number, row in enumerate(cells.iter_rows(values_only=True), 1):
            total += len(row)
            if number > ROWS or total > CELLS:
                raise ValueError(f"it has more than {CELLS:,} cells or {ROWS:,} rows; save the table as CSV")
            rows.append((number, [_cell(value) for value in row]))
        book.close()
    except Exception as error:  # whatever a broken zip or another layout raises
        raise QInsightError(f"cannot read {path} as an Excel sheet: {' '.join(str(error).split())[:200]}") from None
    return rows


def _cell(value: object) -> str:
    return "" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _check_unpacked(path: Path, data: bytes) -> None:
    """Raise QInsightError for an Excel file that unpacks to more than `UNPACKED` bytes: it would fill the memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise QInsightError(f"cannot read {path} as an Excel sheet: {error}") from None
    if size > UNPACKED:
        raise QInsightError(f"{path} unpacks to {size >> 20:,} MB, more than {UNPACKED >> 20}; save the table as CSV")
