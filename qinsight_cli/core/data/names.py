"""Comparison of file names: without case, and in one Unicode normal form."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path


def same_name(name: str) -> str:
    """A name in normalised form, for comparison.

    macOS may store "\u00e9" as a letter and an accent, and a table as one character. NFC gives both the same form,
    before and after case folding.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def exact_parts(path: str) -> list[str]:
    """The names in a path with either separator, unchanged, with `.` and `..` resolved."""
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part.strip() == ".." and parts:
            parts.pop()
        elif part.strip() not in ("", ".", ".."):
            parts.append(part)
    return parts


def path_parts(path: str) -> list[str]:
    """`exact_parts`, normalised and without space at their ends."""
    return [same_name(part).strip() for part in exact_parts(path)]


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The file name of each path, with as many of its folders as needed where several paths share a name."""
    names = {path: path.name for path in paths}
    for length in count(2):
        times = Counter(names.values())
        shared = [path for path, name in names.items() if times[name] > 1]
        if not shared:
            break
        names |= {path: "/".join(path.parts[-length:]) for path in shared}
    return names
