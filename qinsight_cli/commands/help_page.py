"""A help page on the terminal: the usage, the options in sections, and examples, from 60 columns up."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

PIPED, NARROWEST, WIDEST = 100, 20, 110  # columns of a page: in a pipe, and the limits on a terminal
LEFT, ROOM = 34, 40  # columns: the most of an option with help next to it, and the least of that help
MARGIN, INDENT = 2, 6  # columns before an option, and before help below it
# A line is a list of (text, rich style).
Line = list[tuple[str, str]]


@dataclass(frozen=True)
class Entry:
    """An option, an argument or a command: its name, the placeholder of its value (or ""), and its help."""

    name: str
    value: str
    words: str


@dataclass(frozen=True)
class Section:
    """Entries under a title."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Page:
    """A help page. `examples` are (command line, what it does)."""

    usage: str
    paragraphs: tuple[str, ...]
    sections: tuple[Section, ...]
    examples: tuple[tuple[str, str], ...]


def page_of(command: Any, context: Any, examples: Sequence[tuple[str, str]]) -> Page:
    """The page of a command of Typer, or of a group of them."""
    shown = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    words = [_argument(each) for each in arguments]
    sections: dict[str, list[Entry]] = {"Arguments": [_entry(each) for each in arguments], "Options": []}
    for option in (each for each in shown if each not in arguments):
        sections.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(_entry(option))
    if hasattr(command, "list_commands"):
        words += ["COMMAND", "..."]
        below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
        sections["Commands"] = [Entry(name, "", _paragraphs(each.help)[0]) for name, each in below]
    return Page(
        " ".join([context.command_path, "[OPTIONS]", *words]),
        _paragraphs(command.help),
        tuple(Section(title, tuple(entries)) for title, entries in sections.items() if entries),
        tuple(examples),
    )


def _paragraphs(words: str | None) -> tuple[str, ...]:
    return tuple(" ".join(each.split()) for each in (words or "").split("\n\n"))


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _entry(parameter: Any) -> Entry:
    if parameter.param_type_name == "argument":
        return Entry(_argument(parameter), "", _help(parameter))
    names = ", ".join(sorted(parameter.opts, key=len))  # the short one first
    return Entry(names, parameter.metavar or "", _help(parameter))


def _help(parameter: Any) -> str:
    """The help of a parameter, with the range of its value and its default."""
    words = parameter.help or ""
    if parameter.secondary_opts:
        words = f"{words.rstrip('.')}; or {', '.join(parameter.secondary_opts)}."
    kind = getattr(parameter, "type", None)  # has the range if Typer builds on click; else the parameter has it
    low, high = (getattr(parameter, end, getattr(kind, end, None)) for end in ("min", "max"))
    notes = [f"from {low:,g} to {high:,g}" if max(abs(low), abs(high)) < 1e6 else f"up to {high:,}"] if (
        low is not None and high is not None
    ) else []  # fmt: skip
    default = _default(parameter)
    notes += [f"default: {default}"] if default else []
    return f"{words} ({'; '.join(notes)})" if notes else words


def _default(parameter: Any) -> str:
    """The default of a parameter in words; "" if it has none, or if its help names it."""
    shown, value = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return shown
    if not shown or callable(value) or value is None or value is False or value in ("", [], ()):
        return ""
    if value is True:
        return "on"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- drawing --------------------------------------------------------------------------------------------------------


def draw(page: Page) -> None:
    """Print a page on stdout, with colours on a terminal."""
    lines = page_lines(page, columns())
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        print("\n".join("".join(text for text, _ in line).rstrip() for line in lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


def columns() -> int:
    """The width of a page."""
    given = os.environ.get("TERMINAL_WIDTH") or os.environ.get("COLUMNS")
    if given is None and not sys.stdout.isatty():
        return PIPED
    wanted = int(given) if given and given.isascii() and given.isdigit() else 0
    return max(NARROWEST, min(wanted or shutil.get_terminal_size().columns, WIDEST))


def page_lines(page: Page, width: int) -> list[Line]:
    """The lines of a page. The help of an option is next to it, or below it if there is no room."""
    lines: list[Line] = [[("Usage: ", "bold yellow"), (page.usage, "bold")], []]
    for paragraph in page.paragraphs:
        lines += [*([(line, "")] for line in _wrapped(paragraph, width)), []]
    entries = [entry for section in page.sections for entry in section.entries]
    fitting = [length for length in map(_length, entries) if length <= LEFT]
    column = MARGIN + max(fitting, default=0) + 2
    if width - column < ROOM:
        column = INDENT
    for section in page.sections:
        lines.append([(section.title, "bold")])
        for entry in section.entries:
            lines += _entry_lines(entry, column, width)
        lines.append([])
    if page.examples:
        lines.append([("Examples", "bold")])
        for command, words in page.examples:
            first, *rest = _wrapped(command, width - INDENT)
            lines += [[("  " + first, "cyan")], *([(" " * INDENT + line, "cyan")] for line in rest)]
            lines += [[(" " * INDENT + line, "")] for line in _wrapped(words, width - INDENT)]
    return lines


def _length(entry: Entry) -> int:
    return len(entry.name) + (len(entry.value) + 1 if entry.value else 0)


def _entry_lines(entry: Entry, column: int, width: int) -> Iterable[Line]:
    left: Line = [(" " * MARGIN, ""), (entry.name, "bold cyan"), (f" {entry.value}" if entry.value else "", "yellow")]
    words = _wrapped(entry.words, width - column)
    if MARGIN + _length(entry) + 2 <= column:
        gap = " " * (column - MARGIN - _length(entry))
        yield [*left, (gap + (words[0] if words else ""), "")]
        words = words[1:]
    else:
        yield left
    for line in words:
        yield [(" " * column + line, "")]


def _wrapped(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, break_on_hyphens=False)
