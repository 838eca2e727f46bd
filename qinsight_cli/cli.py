"""The command line. It runs a command, and turns every error into one line and an exit code.

Exit codes: 0 success, 1 the command failed, 2 usage, 3 some rows failed, 4 a picture below
`score --fail-below`, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from qinsight_cli.commands import root_help, streams
from qinsight_cli.commands.help_page import draw
from qinsight_cli.core.errors import OutputError, QInsightError, UsageError
from qinsight_cli.core.extras import explain

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. An error of the user is one line on stderr."""
    try:
        if root_help.is_requested(arguments):
            draw(root_help.page())
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
        # Typer's own errors (unknown option, bad value) have no public base class, but this method.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        from qinsight_cli.commands.mistakes import plain

        code = getattr(error, "exit_code", USAGE)
        words = plain(message(), _options(getattr(error, "ctx", None)))
        return _fail(words, code) if words else code  # a group without a command shows its help and has no message


def _options(context: Any) -> list[str]:
    """The options of the command of a wrong command line."""
    if context is None:
        return []
    return [name for param in context.command.get_params(context) for name in (*param.opts, *param.secondary_opts)]


def _run(arguments: Sequence[str]) -> int:
    """Run a command. Imports only its module; for an unknown command all modules, to suggest a similar one."""
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
    except KeyboardInterrupt:  # between the two lines above
        code = INTERRUPTED
    sys.exit(code)
