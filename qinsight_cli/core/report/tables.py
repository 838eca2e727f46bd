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

WIDE = 160  # columns of a table in a pipe or a file: long names fit
BAR = 8
NARROWEST, LEAST_TEXT = 12, 14  # columns of a name at least, and of a text
SET_IN = "  "  # before the later lines of a name
# Columns of a terminal from which a table has room for them.
ROOM_FOR_BARS, ROOM_FOR_SPREADS = 80, 100

# Columns that are left out if no row has a value. So are the standard deviations.
_OPTIONAL = ("reference", "agreement")
# Columns that are left out of a narrow table, for the verdict: what was given, and how sure an answer is.
_WIDE = ("reference", "probability", "severity_probability")
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


def bar(rating: float) -> str:
    """A rating in [1, 5] as a bar of `BAR` characters, empty at 1 and full at 5."""
    filled = round((float(rating) - LOWEST) / (HIGHEST - LOWEST) * BAR)
    return "█" * filled + "░" * (BAR - filled)


def make_table(
    columns: Sequence[str], rows: Iterable[dict[str, Any]], show_reasoning: bool = False, width: int = WIDE
) -> Table:
    """Rows of `rows.row_of` -> a rich table for a terminal of `width` columns. Errors appear in red, as the verdict.

    The verdict comes first, and the whole reasoning beside it only with `show_reasoning`. Bars, standard deviations,
    probabilities and references are left out where the terminal is narrow.
    """
    from rich import box
    from rich.table import Table

    rows = list(rows)
    numbers = [task.number for task in TASKS.values() if task.number in columns]
    spreads = [f"{number}_std" for number in numbers]
    hidden = {"error", *(() if show_reasoning else ("reasoning",)), *(spreads if width < ROOM_FOR_SPREADS else ())}
    hidden |= set(_WIDE) if width < ROOM_FOR_BARS else set()
    hidden |= {c for c in (*_OPTIONAL, *spreads) if all(row.get(c) is None for row in rows)}
    if all(row.get("samples") in (None, 0, 1) for row in rows):
        hidden.add("samples")
    shown = [column for column in columns if column not in hidden]
    names = [column for column in shown if any(column in (*t.image_columns, *t.optional) for t in TASKS.values())]
    colours = {word: colour for task in TASKS.values() for word, colour in task.colours.items()} | _WORD_COLOURS
    with_bar = width >= ROOM_FOR_BARS
    cells = [{column: _cell(column, row, numbers, with_bar, colours) for column in shown} for row in rows]
    room = _widths(cells, shown, names, width)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold", width=room.get(column))
    for row in cells:
        for name in names:
            row[name].plain = "\n".join(folded(row[name].plain, room[name]))
        table.add_row(*row.values())
    return table


def _widths(
    cells: Sequence[Mapping[str, Text]], shown: Sequence[str], names: Sequence[str], width: int
) -> dict[str, int]:
    """Columns -> how wide they are: a short one as its longest cell, one of names at most what leaves the texts room.
    The texts have none here: they share what is left."""
    longest = {column: max([len(column), *(row[column].cell_len for row in cells)]) for column in shown}
    texts = {"verdict", "reasoning"}
    fixed = {column: longest[column] for column in shown if column not in (*names, *texts)}
    left = width - sum(fixed.values()) - 2 * len(shown) - LEAST_TEXT * len(texts & set(shown))
    most = max(NARROWEST, min(width * 2 // 5, left) // max(len(names), 1))
    return fixed | {name: min(longest[name], most) for name in names}


def folded(name: str, width: int) -> list[str]:
    """A name in lines of at most `width` columns, broken after separators where it can be; later lines are set in."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for part in re.split(r"(?<=[/\\_\- ])", name):
        for piece in chop_cells(part, width - len(SET_IN)):  # a part of more than a line is cut
            if cell_len(lines[-1] + piece) <= width:
                lines[-1] += piece
            else:
                lines.append(SET_IN + piece)
    return lines


def _cell(
    column: str, row: Mapping[str, Any], numbers: Sequence[str], with_bar: bool, colours: Mapping[str, str]
) -> Text:
    from rich.text import Text

    if column == "verdict" and row["error"] is not None:
        return Text(printable(row["error"]), style="red")
    value = row.get(column)
    if value is None:
        return Text("")
    if column in numbers:
        words = f"{value:.2f} {bar(value)}" if with_bar else f"{value:.2f}"
        return Text(words, style=rating_colour(float(value)))
    words = " ".join(value.split()) if column == "reasoning" else str(value)
    return Text(printable(words), style=colours.get(words, ""))


def rating_colour(rating: float) -> str:
    """The colour of a rating in [1, 5] on a terminal."""
    return next(colour for limit, colour in _RATING_COLOURS if rating < limit)
