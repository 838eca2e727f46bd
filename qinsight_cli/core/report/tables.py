"""Results as a coloured table on a terminal, with control characters escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

LONGEST_SENTENCE = 160
BAR = 8

# Columns that are left out if no row has a value. So are the standard deviations.
_OPTIONAL = ("reference", "agreement")
_RATING_COLOURS = ((2.0, "red"), (3.0, "dark_orange"), (4.0, "yellow"), (HIGHEST + 1, "green"))
_WORD_COLOURS = {"disagree": "dark_orange"}  # each task has the colours of its own words
# Control characters (Cc), bidi and other invisible formats (Cf), lone surrogates (Cs), line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Text with escapes for all characters that could move the cursor, or colour or reorder the text."""
    return "".join(_escape(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escape(char: str) -> str:
    # Joiners belong to emoji and to several scripts and move nothing.
    return char if char in "\u200c\u200d" else char.encode("unicode_escape", "backslashreplace").decode("ascii")


def first_sentence(text: str, limit: int = LONGEST_SENTENCE) -> str:
    """The first sentence of a reasoning, on one line, cut at `limit` characters."""
    words = " ".join(text.split())
    sentence = re.split(r"(?<=[.!?])\s", words, maxsplit=1)[0]
    return sentence if len(sentence) <= limit else sentence[: limit - 1] + "…"


def bar(rating: float) -> str:
    """A rating in [1, 5] as a bar of `BAR` characters, empty at 1 and full at 5."""
    filled = round((float(rating) - LOWEST) / (HIGHEST - LOWEST) * BAR)
    return "█" * filled + "░" * (BAR - filled)


def make_table(columns: Sequence[str], rows: Iterable[dict[str, Any]], show_reasoning: bool = False) -> Table:
    """Rows of `rows.row_of` -> a rich table. Errors appear in red in place of the reasoning."""
    from rich.table import Table

    rows = list(rows)
    numbers = [task.number for task in TASKS.values() if task.number in columns]
    spreads = [f"{number}_std" for number in numbers]
    left_out = [c for c in (*_OPTIONAL, *spreads) if all(row.get(c) is None for row in rows)]
    if all(row.get("samples") in (None, 0, 1) for row in rows):
        left_out.append("samples")
    shown = [column for column in columns if column != "error" and column not in left_out]
    table = Table(header_style="bold", pad_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold", no_wrap=column in (*numbers, *spreads, "samples"))
    colours = {word: colour for task in TASKS.values() for word, colour in task.colours.items()} | _WORD_COLOURS
    for row in rows:
        table.add_row(*(_cell(column, row, show_reasoning, numbers, colours) for column in shown))
    return table


def _cell(
    column: str, row: dict[str, Any], show_reasoning: bool, numbers: Sequence[str], colours: Mapping[str, str]
) -> Text:
    from rich.text import Text

    if column == "reasoning":
        if row["error"] is not None:
            return Text(printable(row["error"]), style="red")
        value = row["reasoning"]
        return Text(printable(" ".join(value.split()) if show_reasoning else first_sentence(value)))
    value = row.get(column)
    if value is None:
        return Text("")
    if column in numbers:
        colour = next(colour for limit, colour in _RATING_COLOURS if value < limit)
        return Text(f"{value:.2f} {bar(value)}", style=colour)
    return Text(printable(str(value)), style=colours.get(str(value), ""))
