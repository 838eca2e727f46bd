"""The Typer app. It imports the modules of only those commands that a command line may need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from qinsight_cli import __version__
from qinsight_cli.commands.help import add_pages
from qinsight_cli.commands.root_help import WORDS


def _version(given: bool) -> None:
    if given:
        print(f"qinsight {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Show the version and exit.")
    ] = False,
) -> None:
    """The options of the program itself, which Typer reads from a function. `_version` answers --version."""


def build_app(names: Iterable[str]) -> typer.Typer:
    """The app with these commands. Each is the `app` of the module of that name, or the function of that name in it."""
    app = typer.Typer(
        name="qinsight",
        help=WORDS,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=WORDS)(_root)
    for name in names:
        module = import_module(f"qinsight_cli.commands.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    add_pages(app)
    return app
