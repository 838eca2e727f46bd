"""Every help page at 80 columns: three examples that can be run, no type beside a switch, nothing cut."""

from __future__ import annotations

import re
import shlex

import pytest

import generate
from qinsight_cli.cli import run as run_line
from qinsight_cli.commands.examples import examples
from qinsight_cli.commands.mistakes import meant, plain

COMMANDS = generate.commands()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("doctor", "prepare json")])
def test_three_examples_whose_options_are_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = examples(command)
    assert len(found) >= 3
    for line, words in found:
        program, *arguments = shlex.split(line)
        assert program == "qinsight"
        assert " ".join(arguments).startswith(command)
        # An option that is not there, or a value that it does not take, is refused before the help is shown.
        assert run_line([*arguments, "--help"]) == 0, capsys.readouterr().err
        assert words


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_cut_at_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert run_line([*command.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert "…" not in page
    assert max(map(len, page.splitlines())) <= 80
    assert not re.search(r"<(bool|str|int|path|float|list|[a-z]+\|)", page)
    for line, _ in examples(command):
        assert line in " ".join(page.split())


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
    assert meant(word, known) == expected


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
