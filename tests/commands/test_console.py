"""Talk on stderr, tables on stdout, nothing that steers a terminal."""

from __future__ import annotations

import pytest
from rich.text import Text

from qinsight_cli.commands import console

NASTY = "a\x1b[31m\u202eb\r"
SAFE = "a\\x1b[31m\\u202eb\\r"


def test_each_stream_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("talk")
    console.write("data")
    console.show(Text("a table"))
    console.fail("two\nlines")
    out, err = capsys.readouterr()
    assert out == "data\na table\n"
    assert err == "talk\nqinsight: error: two lines\n"


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(NASTY)
    console.write(NASTY)
    console.fail(NASTY)
    out, err = capsys.readouterr()
    assert out == f"{SAFE}\n"
    assert err == f"{SAFE}\nqinsight: error: {SAFE.removesuffix(chr(92) + 'r')}\n"


def test_talk_is_neither_wrapped_nor_marked_up(capsys: pytest.CaptureFixture[str]) -> None:
    words = "[bold]x[/bold] " + "long " * 60
    console.say(words)
    assert capsys.readouterr().err.rstrip("\n") == words


def test_words_beside_a_lead_wrap_under_themselves_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "one two-and-a-half three four five six"
    console.write_beside("lead  ", words)
    assert capsys.readouterr().out == f"lead  {words}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    console.write_beside("lead  ", words)
    assert capsys.readouterr().out.splitlines() == ["lead  one two-and-a-half three", "      four five six"]


def test_a_table_in_a_pipe_is_wide(capsys: pytest.CaptureFixture[str]) -> None:
    console.show(Text("x" * console.WIDE))
    assert capsys.readouterr().out == "x" * console.WIDE + "\n"


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("images", 3) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
