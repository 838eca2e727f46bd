"""A table of pairs -> the questions of `compare`."""

from __future__ import annotations

import os
from pathlib import Path

from qinsight_cli.core.csv_text import unguarded
from qinsight_cli.core.data.table_files import Table, read_table
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import EXTENSIONS, on_disk

PAIR, REFERENCE = ("image_a", "image_b"), "reference"


def read_pairs(path: Path) -> list[dict[str, str]]:
    """A table with columns image_a,image_b[,reference] -> items. A relative name is first looked up in its folder.

    The table is any CSV or Excel file that `read_table` reads; other columns (as in the output of `compare --csv`) are
    ignored. A name may lack its extension. Raises QInsightError for a missing column, a line without an image, or an
    unreadable file.
    """
    table = read_table(path)
    for role in PAIR:
        if table.column(role) is None:
            seen = ", ".join(name for name in table.header if name) or "no header"
            raise QInsightError(
                f"{path} has no column {role}; it needs image_a,image_b[,reference] and has {seen} ({table.kind})"
            )
    items = [_item(table, where, row) for where, row in table.records((), (*PAIR, REFERENCE))]
    if not items:
        raise QInsightError(f"{path} holds no pairs")
    return items


def _item(table: Table, where: str, row: dict[str, str]) -> dict[str, str]:
    item = {}
    for role in (*PAIR, REFERENCE):
        if row.get(role, "").strip():
            item[role] = _found(table.path, where, row[role])
        elif role in PAIR:
            raise QInsightError(f"{where}: no {role}")
    return item


def _found(path: Path, where: str, name: str) -> str:
    """A name in the table -> its file in the table's folder or the working directory; the name itself if there is
    none."""
    spellings = dict.fromkeys(each for text in (name, name.strip()) for each in (text, unguarded(text)))
    places = [os.path.join(folder, each) for each in spellings for folder in (path.parent, "")]
    for place in places:
        if os.path.lexists(found := on_disk(place)):
            return found
    if os.path.splitext(name.strip())[1].lower() in EXTENSIONS:
        return name.strip()
    for place in places:
        found_all = [found for ending in EXTENSIONS if os.path.lexists(found := on_disk(place + ending))]
        if len(found_all) > 1:
            raise QInsightError(f"{where}: {name!r} could be {' or '.join(found_all)}; write its extension")
        if found_all:
            return found_all[0]
    return name.strip()
