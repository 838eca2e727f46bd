"""Help pages of Typer's commands: short placeholders for values, none for switches, and shell completion."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from qinsight_cli.commands.completion import COMPLETED
from qinsight_cli.commands.examples import examples
from qinsight_cli.commands.help_page import draw, page_of

_WORDS = {int: "N", float: "X", str: "NAME", Path: "PATH"}


class _Page:
    """A command with the help page of `help_page`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        draw(page_of(self, ctx, examples(" ".join(ctx.command_path.split()[1:]))))


class Command(_Page, TyperCommand):
    """A command of qinsight."""


class Group(_Page, TyperGroup):
    """A command of qinsight that has commands."""


def add_pages(app: typer.Typer) -> None:
    """Give every command of the app, and of the apps in it, its help page."""
    app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.cls = Group
            add_pages(group.typer_instance)


def plain_values(annotation: Any) -> Any:
    """The annotation of an option or argument, with a short placeholder for its value and with completion.

    A switch has no placeholder, a choice shows its words. Other annotations are unchanged.
    """
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *rest = get_args(annotation)
    for info in rest:
        if isinstance(info, OptionInfo):
            _shorten(info, _one_of(kind))
        if isinstance(info, OptionInfo | ArgumentInfo) and info.autocompletion is None:
            names = (info.default, *(info.param_decls or ()), info.metavar)  # in Annotated `default` is the first name
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
    info.metavar = "|".join(choices) or _WORDS.get(kind)


def _one_of(kind: Any) -> Any:
    """The type of one value: T for `T | None` and `list[T]`."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return get_args(kind)[0] if get_origin(kind) is list else kind
