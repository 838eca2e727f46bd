"""The command line: what is asked for, and the one place where an error becomes a line and an exit code.

Exit codes: 0 all fine, 1 the command failed, 2 usage, 3 some rows failed, 4 a picture below
`score --fail-below`, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from qinsight_cli.commands import root_help, streams
from qinsight_cli.core.errors import OutputError, QInsightError, UsageError
from qinsight_cli.core.extras import explain

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors of the user are one line on stderr."""
    try:
        if root_help.is_asked(arguments):
            root_help.show()
            code = 0 if arguments else USAGE
        else:
            code = _run(arguments)
        streams.finish()
        return code
    except OutputError as error:
        return _fail(str(error), FAILED) if str(error) else FAILED
    except UsageError as error:
        return _fail(str(error), USAGE)
    except QInsightError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        line = explain(error)
        if line is None:
            raise
        return _fail(line, FAILED)
    except Exception as error:
        if type(error).__name__ == "Abort":  # Typer's, at the end of input
            return INTERRUPTED
        # Typer's own errors (unknown option, bad value) have no public base class; this is how they are told.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        from qinsight_cli.commands.mistakes import plain

        code = getattr(error, "exit_code", USAGE)
        words = plain(message(), _options(getattr(error, "ctx", None)))
        return _fail(words, code) if words else code  # without a command the help is shown, and no line


def _options(context: Any) -> list[str]:
    """The options of the command that a wrong command line asked for."""
    if context is None:
        return []
    return [name for param in context.command.get_params(context) for name in (*param.opts, *param.secondary_opts)]


def _run(arguments: Sequence[str]) -> int:
    """Run a command. Only its own module is loaded; all are when it is not known, so that the near ones are named."""
    from qinsight_cli.commands.fleet import with_address
    from qinsight_cli.commands.root import build_app

    named = arguments[0] if arguments else ""
    app = build_app([named] if named in root_help.COMMANDS else root_help.COMMANDS)
    streams.log_to_stderr()
    return app(with_address(arguments), prog_name="qinsight", standalone_mode=False) or 0


def _fail(message: str, code: int) -> int:
    from qinsight_cli.commands import console

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
