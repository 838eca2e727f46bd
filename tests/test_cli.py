"""The command line as a whole: help without torch, versions, usage errors in one line, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qinsight_cli import __version__, cli
from qinsight_cli.core.errors import ImageError, QInsightError, UsageError

HEAVY = ("torch", "transformers", "pandas", "scipy", "trl", "datasets", "PIL", "numpy", "cv2", "matplotlib")


def test_help_loads_nothing_heavy() -> None:
    """One process asks for the help of every command in turn: what one of them loads, the end sees."""
    asked = ("--help", "-h", "score --help", "compare -h", "degrade -h", "bench --help", "prepare spaq --help")
    words = (
        "import sys; from qinsight_cli import cli\n"
        "for words in sys.argv[1:]:\n"
        "    assert cli.run(words.split()) == 0\n"
        f"    print('loaded', words, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", words, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: qinsight") == len(asked)
    loaded = [line for line in done.stdout.splitlines() if line.startswith("loaded ")]
    assert loaded == [f"loaded {words} []" for words in asked]
    assert "--predictions" in done.stdout


def test_the_module_runs_as_the_script_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qinsight_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"qinsight {__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert "score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scor", "x.jpg"], "'score'"),
        (["score", "--batch-sise", "3"], "--batch-size"),
        (["score", "x.jpg", "--batch-size", "0"], "--batch-size"),
        (["score", "x.jpg", "--batch-size", "many"], "--batch-size"),
        (["score", "x.jpg", "--temperature", "-1"], "--temperature"),
        (["score", "x.jpg", "--dtype", "float3"], "float32"),
        (["score", "x.jpg", "--limit", "0"], "--limit"),
        (["score"], "PATH"),
        (["score", "x.jpg", "--csv", "-", "--jsonl", "-"], "share standard output"),
        (["score", "x.jpg", "--csv", "a", "--jsonl", "a"], "two names"),
        (["score", "x.jpg", "--samples", "5", "--temperature", "0"], "raise --temperature"),
        (["compare", "a.jpg"], "two images"),
        (["compare", "a.jpg", "b.jpg", "--pairs", "p.csv"], "not both"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("qinsight: error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "nowhere"], "no such file or folder: nowhere"),
        (["score", "nowhere/*.jpg"], "nothing matches nowhere/*.jpg"),
        (["score", "x.jpg", "--csv", "nowhere/out.csv"], "there is no folder"),
        (["degrade", "x.jpg", "--jsonl", "."], "it is a folder"),
        (["score", "x.jpg", "--model", "tyni"], "tiny"),
        (["score", "x.jpg", "--prompt", "nowhere.txt"], "the prompt: cannot read nowhere.txt: No such file"),
        (["compare", "--pairs", "nowhere.csv"], "cannot read nowhere.csv: No such file"),
    ],
)
def test_failures_are_one_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert cli.run(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("qinsight: error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(QInsightError("x"), 1), (ImageError("x"), 1), (UsageError("x"), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("qinsight_cli.commands.score.find_images", fail)
    assert cli.run(["score", "x.jpg"]) == code


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("qinsight_cli.commands.score.find_images", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["score", "x.jpg"])


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["score", "no\x1b[31m\nsuch\u202e"]) == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert "\\x1b[31m" in err


def test_the_root_help_says_what_the_commands_say() -> None:
    """It is kept apart, so that it need not load them."""
    import typer

    from qinsight_cli.commands import root_help
    from qinsight_cli.commands.root import build_app

    group = typer.main.get_command(build_app(root_help.COMMANDS))
    commands = group.commands  # type: ignore[attr-defined]
    assert set(root_help.COMMANDS) == set(commands)
    for name, words in root_help.COMMANDS.items():
        assert " ".join((commands[name].help or "").split()).startswith(words)
    options = {option for each in group.params for option in each.opts} | {"-h", "--help"}
    assert {option for shown in root_help.OPTIONS for option in shown.split(", ")} == options


def test_the_root_help_loads_no_command() -> None:
    words = "import sys; from qinsight_cli import cli; cli.run(['--help']); print('typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert all(name in done.stdout for name in ("score", "degrade", "compare", "prepare", "train", "bench", "cache"))
