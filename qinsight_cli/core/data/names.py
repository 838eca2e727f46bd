"""When two file names are the same: whatever the case, and in whichever normal form a disk keeps its letters."""

from __future__ import annotations

import unicodedata


def same_name(name: str) -> str:
    """A name in normalised form, for comparison.

    A Mac's disk keeps "\u00e9" as a letter and an accent, a table has it as one character: NFC makes one of both, also
    after the case is folded.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def path_parts(path: str) -> list[str]:
    """The normalised names in a path with either separator, with `.` and `..` resolved."""
    parts: list[str] = []
    for part in map(str.strip, same_name(path.replace("\\", "/")).split("/")):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return parts
