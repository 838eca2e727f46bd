"""The Typer app, with the modules of only those commands that a command line may mean."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from qinsight_cli import __version__
from qinsight_cli.commands.help import add_pages
from qinsight_cli.commands.root_help import WORDS


def _version(asked: bool) -> None:
    if asked:
        print(f"qinsight {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Show the version and exit.")
    ] = False,
) -> None:
    """Typer takes the program's own options from a function. There is nothing to run: `_version` answers --version."""


def build_app(names: Iterable[str]) -> typer.Typer:
    """The app with these commands. Each is the function of that name in the module of that name, or its `app`."""
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
