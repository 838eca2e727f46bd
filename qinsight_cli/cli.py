"""The command line: the Typer app, and the one place where an error becomes a line and an exit code.

Exit codes: 0 all fine, 1 the command failed, 2 usage, 3 some rows failed, 4 a picture below
`score --fail-below`, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from qinsight_cli import __version__
from qinsight_cli.commands import bench, cache, compare, console, degrade, doctor, fleet, prepare, score, streams, train
from qinsight_cli.commands.help import add_pages
from qinsight_cli.commands.mistakes import plain
from qinsight_cli.core.errors import OutputError, QInsightError, UsageError
from qinsight_cli.core.extras import explain

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="qinsight",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("score")(score.score)
app.command("degrade")(degrade.degrade)
app.command("compare")(compare.compare)
app.add_typer(prepare.app, name="prepare")
app.command("train")(train.train)
app.command("bench")(bench.bench)
app.command("cache")(cache.cache)
app.command("doctor")(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        print(f"qinsight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Show the version and exit.")
    ] = False,
) -> None:
    """Judge pictures: rate their quality, name their degradation, compare them, and say why."""


add_pages(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors of the user are one line on stderr."""
    try:
        code = app(fleet.with_address(arguments), prog_name="qinsight", standalone_mode=False) or 0
        streams.finish()
        return code
    except OutputError as error:
        return _fail(str(error), FAILED) if str(error) else FAILED
    except UsageError as error:
        return _fail(str(error), USAGE)
    except QInsightError as error:
        return _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except ModuleNotFoundError as error:
        line = explain(error)
        if line is None:
            raise
        return _fail(line, FAILED)
    except Exception as error:
        # Typer's own errors (unknown option, bad value) have no public base class; this is how they are told.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        code = getattr(error, "exit_code", USAGE)
        words = plain(message(), _options(getattr(error, "ctx", None)))
        return _fail(words, code) if words else code  # without a command the help is shown, and no line


def _options(context: Any) -> list[str]:
    """The options of the command that a wrong command line asked for."""
    if context is None:
        return []
    return [name for param in context.command.get_params(context) for name in (*param.opts, *param.secondary_opts)]


def _fail(message: str, code: int) -> int:
    console.fail(message)
    return code


def main() -> None:
    """The console script."""
    streams.install()
    try:
        code = run(sys.argv[1:])
        streams.ignore_interrupts()
    except KeyboardInterrupt:  # between two lines of the above
        code = INTERRUPTED
    sys.exit(code)
