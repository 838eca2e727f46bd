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

WIDE = 160  # columns of a table in a pipe or a file, so that long names fit
BAR = 8
LEAST_NAME, LEAST_TEXT = 12, 14  # the fewest columns of a name and of a text
INDENT = "  "  # before the second and later lines of a name
# The narrowest terminals, in columns, whose tables have bars and standard deviations.
ROOM_FOR_BARS, ROOM_FOR_SPREADS = 80, 100

# Columns that are left out if no row has a value, as are standard deviations.
_OPTIONAL = ("reference", "agreement")
# Columns that a narrow table leaves out, to have room for the verdict.
_WIDE = ("reference", "probability", "severity_probability")
_RATING_COLOURS = ((2.0, "red"), (3.0, "dark_orange"), (4.0, "yellow"), (HIGHEST + 1, "green"))
_WORD_COLOURS = {"disagree": "dark_orange"}  # in addition to those of the tasks
# Control characters (Cc), bidi and other invisible formats (Cf), lone surrogates (Cs), line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Text with escapes for all characters that could move the cursor, or colour or reorder text."""
    return "".join(_escape(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escape(char: str) -> str:
    # Joiners belong to emoji and to several scripts and are harmless.
    return char if char in "\u200c\u200d" else char.encode("unicode_escape", "backslashreplace").decode("ascii")


def bar(rating: float) -> str:
    """A rating in [1, 5] as a bar of `BAR` characters, empty at 1 and full at 5."""
    filled = round((float(rating) - LOWEST) / (HIGHEST - LOWEST) * BAR)
    return "█" * filled + "░" * (BAR - filled)


def make_table(
    columns: Sequence[str], rows: Iterable[dict[str, Any]], show_reasoning: bool = False, width: int = WIDE
) -> Table:
    """Rows of `rows.row_of` -> a rich table for a terminal of `width` columns. An error is shown in red as the verdict.

    The reasoning has a column only with `show_reasoning`. A narrow table has no bars, standard deviations,
    probabilities and references.
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
    """The width of each column: of a short one that of its longest cell, of names no more than leaves room for texts.
    The columns of texts have no entry: they share the rest."""
    longest = {column: max([len(column), *(row[column].cell_len for row in cells)]) for column in shown}
    texts = {"verdict", "reasoning"}
    fixed = {column: longest[column] for column in shown if column not in (*names, *texts)}
    left = width - sum(fixed.values()) - 2 * len(shown) - LEAST_TEXT * len(texts & set(shown))
    most = max(LEAST_NAME, min(width * 2 // 5, left) // max(len(names), 1))
    return fixed | {name: min(longest[name], most) for name in names}


def folded(name: str, width: int) -> list[str]:
    """A name in lines of at most `width` columns, broken after separators if possible. Later lines are indented."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for part in re.split(r"(?<=[/\\_\- ])", name):
        for piece in chop_cells(part, width - len(INDENT)):  # cuts a part that is longer than a line
            if cell_len(lines[-1] + piece) <= width:
                lines[-1] += piece
            else:
                lines.append(INDENT + piece)
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
