"""CSV that spreadsheets show and do not run: the one way in which texts become cells, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# A spreadsheet takes text that begins so for a formula: a sign, also a full-width one, perhaps after white space that
# it drops; or white space that some drop together with what a reader would see.
_FORMULA = re.compile(r"'*(?:[\t\r\n\0]|[\s\0\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20])")

_SPECIAL = frozenset(',"\r\n')


def guarded(text: str) -> str:
    """The text, with an apostrophe before it when a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_line(values: Iterable[Any]) -> bytes:
    """One line of UTF-8 CSV. Text that a spreadsheet would run as a formula gets a leading apostrophe, paths too."""
    return (",".join(_quoted(_cell(value)) for value in values) + "\n").encode("utf-8", "backslashreplace")


def _quoted(cell: str) -> str:
    """A cell in quotes where it needs them: white space at its ends too, which many readers drop outside of quotes."""
    if cell == cell.strip() and not _SPECIAL.intersection(cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return guarded(value) if isinstance(value, str) else str(value)
