"""Text to CSV cells and back; no spreadsheet runs such a cell as a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# A spreadsheet may run text that begins so as a formula: with a sign (full-width too), possibly after white space that
# the spreadsheet drops, or with a control character.
_FORMULA = re.compile(r"'*(?:[\t\r\n\0]|[\s\0\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20])")

_SPECIAL = frozenset(',"\r\n')


def guarded(text: str) -> str:
    """The text, after an apostrophe if a spreadsheet would run it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_line(values: Iterable[Any]) -> bytes:
    """One line of UTF-8 CSV. Text that a spreadsheet would run as a formula gets a leading apostrophe, paths too."""
    return (",".join(_quoted(_cell(value)) for value in values) + "\n").encode("utf-8", "backslashreplace")


def _quoted(cell: str) -> str:
    """The cell, in quotes if it needs them. White space at its ends needs them: many readers drop it otherwise."""
    if cell == cell.strip() and not _SPECIAL.intersection(cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return guarded(value) if isinstance(value, str) else str(value)
