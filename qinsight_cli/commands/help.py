"""Help pages: examples at the end, no type beside a switch, short words for values."""

from __future__ import annotations

import inspect
import types
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from qinsight_cli.commands.completion import COMPLETED
from qinsight_cli.commands.examples import epilog

LONGEST_METAVAR = 15  # a longer one leaves its help no room on a terminal of 80 columns
_WORDS = {int: "N", float: "X", str: "NAME", Path: "PATH"}


class _Page:
    """A page without types beside switches and arguments, whose examples keep their lines."""

    epilog: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
            elif param.param_type_name == "argument":  # its name says what it is
                param.display_type = lambda ctx: None
        return list(params)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for param in self.get_params(ctx):
            if param.secondary_opts:  # a column of its own for them leaves the rest no room
                param.help = f"{(param.help or '').rstrip('.')}; or {', '.join(param.secondary_opts)}."
                param.secondary_opts = []
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


class Command(_Page, TyperCommand):
    """A command of qinsight."""


class Group(_Page, TyperGroup):
    """A command of qinsight that has commands."""


def add_pages(app: typer.Typer, name: str = "") -> None:
    """Give every command of the app, and of the apps in it, its page."""
    app.info.cls, app.info.epilog = Group, epilog(name)
    for command in app.registered_commands:
        own = command.name or command.callback.__name__  # type: ignore[union-attr]
        command.help = command.help or _unwrapped(command.callback)
        command.cls, command.epilog = Command, epilog(f"{name} {own}".strip())
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.cls, group.epilog = Group, epilog(str(group.name))
            add_pages(group.typer_instance, str(group.name))


def _unwrapped(function: Any) -> str:
    """The docstring of a command with one line for each paragraph: the page wraps it to its own width."""
    return "\n\n".join(" ".join(each.split()) for each in (inspect.getdoc(function) or "").split("\n\n"))


def plain_values(annotation: Any) -> Any:
    """The annotation of an option, with a word for its value that fits on a page, and completion; any other as it is.

    A switch has none. The words of a longer choice go into the help.
    """
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *rest = get_args(annotation)
    for info in rest:
        if isinstance(info, OptionInfo):
            _shorten(info, _one_of(kind))
        if isinstance(info, OptionInfo | ArgumentInfo) and info.autocompletion is None:
            names = (info.default, *(info.param_decls or ()), info.metavar)  # in Annotated the first name is `default`
            info.autocompletion = next((COMPLETED[str(name)] for name in names if str(name) in COMPLETED), None)
    return annotation


def _shorten(info: OptionInfo, kind: Any) -> None:
    if info.metavar is not None:
        return
    if kind is bool:
        info.metavar = ""
        return
    choices = [str(each.value) for each in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
    choices = [str(each) for each in get_args(kind)] if get_origin(kind) is Literal else choices
    joined = "|".join(choices)
    if choices and len(joined) > LONGEST_METAVAR:
        info.metavar, info.help = "WORD", f"One of {', '.join(choices)}. {info.help or ''}".strip()
    else:
        info.metavar = joined or _WORDS.get(kind)


def _one_of(kind: Any) -> Any:
    """The type of one value: of `T | None` and `list[T]` it is T."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return get_args(kind)[0] if get_origin(kind) is list else kind
