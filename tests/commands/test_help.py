"""Every help page from 60 to 200 columns: three examples that can be run, no type beside a switch, nothing cut."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys

import pytest
import typer

import generate
from qinsight_cli.cli import run as run_line
from qinsight_cli.commands import help_page, root_help
from qinsight_cli.commands.examples import examples
from qinsight_cli.commands.mistakes import plain, suggestion
from qinsight_cli.commands.root import build_app

COMMANDS = generate.commands()


@pytest.mark.parametrize("command", COMMANDS)
def test_three_examples_that_are_right_as_command_lines(command: str) -> None:
    root = typer.main.get_command(build_app(root_help.COMMANDS))
    found = examples(command)
    assert len(found) >= 3
    for line, words in found:
        program, *arguments = shlex.split(re.split(r" (?:&&|\|) ", line)[0])
        assert program == "qinsight"
        assert " ".join(arguments).startswith(command)
        assert words
        # Parsed as it stands: an option that is not there, a value that it does not take or a second argument to a
        # command of one is refused. Nothing runs.
        context = root.make_context("qinsight", list(arguments))
        while isinstance(context.command, typer.core.TyperGroup):
            name, below, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
            context = below.make_context(name, rest, parent=context)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_cut_at_any_width(
    command: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_line([*command.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert "…" not in page
    assert max(map(len, page.splitlines())) <= min(width, help_page.WIDEST)
    assert not re.search(r"<(bool|str|int|path|float|list|[a-z]+\|)", page)
    whole = " ".join(page.split())
    for line, words in examples(command):
        assert f"{line} {words}" in whole
    for name, value, words in generate.entries(command):
        assert f"{' '.join(filter(None, (name, value)))} {words}" in whole


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the program prints on a terminal of 90 columns."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    started = subprocess.Popen(
        [sys.executable, "-m", "qinsight_cli", *arguments],
        stdout=theirs,
        env={**inherited, "COLUMNS": "90", "TERM": "xterm", **environment},
    )
    os.close(theirs)
    parts = []
    with contextlib.suppress(OSError):  # Linux says the end of a terminal so
        while part := os.read(ours, 4096):
            parts.append(part)
    os.close(ours)
    assert started.wait() == 0
    return b"".join(parts).decode()


def test_a_page_in_colours_says_what_the_plain_one_says() -> None:
    coloured, plain = on_a_terminal("compare", "-h"), on_a_terminal("compare", "-h", NO_COLOR="1")
    assert "\x1b[" not in plain
    assert "\x1b[1;36m--both-orders" in coloured
    assert [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()] == plain.splitlines()


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("fp16", ["float32", "float16"], "; did you mean float16?"),
        ("BF16", ["float32", "bfloat16"], "; did you mean bfloat16?"),
        ("reason", ["reasoned", "direct"], "; did you mean reasoned?"),
        ("xyz", ["reasoned", "direct"], ""),
    ],
)
def test_what_may_have_been_meant(word: str, known: list[str], expected: str) -> None:
    assert suggestion(word, known) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "x", "--devic", "cpu"], "no option --devic; did you mean --device?"),
        (
            ["score", "x", "--dtype", "fp16"],
            "--dtype fp16 is not one of auto, float32, bfloat16, float16; did you mean",
        ),
        (["score", "x", "--batch-size", "0"], "--batch-size must be greater than or equal to 1"),
        (["scor", "x"], "Did you mean 'score'"),
        (["prepare", "konik", "x"], "Did you mean 'koniq'?"),
        (["compare", "a", "b", "c"], "more arguments than the command takes: c; a reference is --ref FILE"),
        (["bench", "tabel1"], "did you mean table1?"),
        (["bench", "table1", "--metric", "psn"], "did you mean psnr?"),
        (["score", "x", "--quiet-please"], "no option --quiet-please"),
    ],
)
def test_a_wrong_command_line_is_one_plain_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_line(arguments) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_other_messages_stay_as_they_are() -> None:
    assert plain("Missing argument 'PATH'.", []) == "Missing argument 'PATH'."
