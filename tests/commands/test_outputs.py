"""What may be written over, and what a full, closed or missing standard stream does to a command."""

from __future__ import annotations

import logging
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.commands import streams

HEADER = "path,rating,rating_std,samples,verdict,reasoning,error"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


# Nothing of the user's is written over


def test_the_forgotten_file_name_harms_no_photo(photos: list[str], run: Any, pixel_model: list[Any]) -> None:
    """qinsight score --csv photos/*.png"""
    before = Path(photos[0]).read_bytes()
    done = run("score", "--csv", *photos)
    assert done.code == 1
    assert "no output of this command" in done.err
    assert "--force" in done.err
    assert Path(photos[0]).read_bytes() == before
    assert pixel_model == []


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_foreign_file_is_replaced_only_by_force(photos: list[str], run: Any, pixel_model: Any, option: str) -> None:
    Path("mine.txt").write_text("notes\n")
    assert run("score", "photos", option, "mine.txt").code == 1
    assert Path("mine.txt").read_text() == "notes\n"
    assert run("score", "photos", option, "mine.txt", "--force").code == 0
    assert len(Path("mine.txt").read_text().splitlines()) >= 7
    assert run("degrade", "photos", option, "mine.txt").code == 0  # now it is ours


def test_an_input_is_never_written_over(photos: list[str], run: Any, pixel_model: Any) -> None:
    before = Path(photos[1]).read_bytes()
    os.link(photos[1], "other name.csv")
    Path("words.txt").write_text("Rate it.")
    Path("pairs.csv").write_text("image_a,image_b\n" + ",".join(photos[:2]) + "\n")
    for command in (
        ["score", *photos, "--csv", photos[1], "--force"],
        ["score", *photos, "--jsonl", "other name.csv", "--force"],
        ["score", "photos", "--prompt", "words.txt", "--csv", "words.txt", "--force"],
        ["compare", "--pairs", "pairs.csv", "--csv", "pairs.csv", "--force"],
        ["score", "gone.png", photos[0], "--csv", "gone.png", "--force"],
    ):
        done = run(*command)
        assert done.code == 1, command
        assert "this command reads it" in done.err
    assert Path(photos[1]).read_bytes() == before
    assert Path("words.txt").read_text() == "Rate it."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--csv", ""], "--csv is empty"),
        (["--jsonl", "  "], "--jsonl is empty"),
        (["--csv", "a", "--jsonl", "./a"], "are both a"),
        (["--csv", "hard", "--jsonl", "link"], "are both hard"),
        (["--csv", "a", "--jsonl", "a.journal.jsonl"], "is the name of the journal of a"),
    ],
)
def test_outputs_that_collide_are_usage_errors(photos: list[str], run: Any, options: list[str], words: str) -> None:
    Path("hard").write_text("")
    os.link("hard", "link")
    done = run("score", "photos", *options)
    assert done.code == 2
    assert words in done.err


def test_a_journal_that_is_none_is_left_alone_by_restart(photos: list[str], run: Any, pixel_model: Any) -> None:
    Path("out.csv.journal.jsonl").write_text("my diary\n")
    done = run("score", "photos", "--csv", "out.csv", "--restart")
    assert done.code == 1
    assert "is not a journal of qinsight" in done.err
    assert Path("out.csv.journal.jsonl").read_text() == "my diary\n"


# Streams


def shell(mortal: Any, redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command on PixelEngine under bash, with `redirection` behind it; both are kept unless it says."""
    words = ["bash", "-c", f'"$@" {redirection}', "bash", *mortal.command("none", 0, *arguments)]
    return subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL)


BOTH = ["--csv", "out.csv", "--jsonl", "-"]


@needs_full
@pytest.mark.parametrize(
    ("redirection", "output", "code", "words"),
    [
        (">/dev/full", ["--csv", "-"], 1, "cannot write to standard output: No space left on device"),
        (">/dev/full", [], 1, "cannot write to standard output: No space left on device"),
        (">/dev/full", BOTH, 1, "cannot write to standard output: No space left on device"),
        (">&-", ["--csv", "-"], 1, "cannot write to standard output: Bad file descriptor"),
        (">&-", BOTH, 1, "cannot write to standard output: Bad file descriptor"),
        (">&-", ["--csv", "out.csv"], 0, ""),
        ("2>/dev/full", ["--csv", "-"], 0, ""),
        ("2>/dev/full", BOTH, 0, ""),
        ("2>&-", ["--csv", "out.csv"], 0, ""),
        ("2>/dev/full >/dev/full", BOTH, 1, ""),
        ("<&- >&- 2>&-", ["--csv", "out.csv"], 0, ""),
        ("> >(exec true)", ["--csv", "out.csv", "--jsonl", "-"], 1, ""),
    ],
)
def test_full_and_closed_streams(
    photos: list[str], mortal: Any, redirection: str, output: list[str], code: int, words: str
) -> None:
    if "exec true" in redirection:
        redirection += "; exit $?"
    done = shell(mortal, redirection, "score", "photos", "--batch-size", "2", *output)
    assert done.returncode == code
    errors = done.stderr.decode()
    assert not any(sign in errors for sign in ("Traceback", "Exception", "BrokenPipe"))
    assert [line for line in errors.splitlines() if "error:" in line] == (
        [f"qinsight: error: {words}"] if words else []
    )
    if "out.csv" in output:
        lines = Path("out.csv").read_text().splitlines()
        assert lines[0] == HEADER
        assert [line.split(",")[0] for line in lines[1:]] == photos
        assert not Path("out.csv.journal.jsonl").exists()


@needs_full
@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"]])
def test_help_on_a_full_or_closed_stream(tmp_path: Path, mortal: Any, arguments: list[str]) -> None:
    for redirection in (">/dev/full", ">&-"):
        done = shell(mortal, redirection, *arguments)
        assert done.returncode == 1
        assert done.stderr.decode().startswith("qinsight: error: cannot write to standard output")
        assert len(done.stderr.splitlines()) == 1


def test_rows_on_a_terminal_cannot_steer_it(photos: list[str], mortal: Any) -> None:
    name = "a\x1b]0;owned\x07\u202e\x9b31m.png"
    os.rename(photos[0], name)
    for kind in ("--csv", "--jsonl"):
        ours, theirs = pty.openpty()
        done = subprocess.run(
            mortal.command("none", 0, "score", name, "gone\x1b.png", kind, "-"), stdout=theirs, check=False
        )
        os.close(theirs)
        seen = os.read(ours, 100_000).decode()
        os.close(ours)
        assert done.returncode == 3
        assert not set(seen) & set("\x1b\x07\u202e\x9b")
        assert "\\u202e" in seen
        assert "1b" in seen


# Signals


def test_sigterm_finishes_the_batch(photos: list[str], mortal: Any, run: Any, pixel_model: Any) -> None:
    script = mortal.command("interrupt", 1, "score", "photos", "--batch-size", "2", "--csv", "out.csv")
    script[2] = script[2].replace("signal.SIGINT", "signal.SIGTERM")
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "finishing this batch" in done.stderr
    assert len(Path("out.csv.journal.jsonl").read_text().splitlines()) == 5
    again = run("score", "photos", "--batch-size", "2", "--csv", "out.csv")
    assert again.code == 0
    assert "resuming: 4 answers" in again.err


def test_many_ctrl_c_in_a_row_leave_no_traceback(photos: list[str], mortal: Any) -> None:
    for pause in (0.0, 0.02):
        process = mortal.start("none", 0, "score", *photos * 300, "--batch-size", "1", "--csv", f"{pause}.csv")
        while not Path(f"{pause}.csv.journal.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        errors = process.stderr.read()
        process.stderr.close()
        process.stdout.close()
        assert process.returncode in (0, 130)
        assert "Traceback" not in errors
        assert "Exception" not in errors


def test_the_log_of_deepspeed_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("DeepSpeed")
    streams.log_to_stderr()
    streams.log_to_stderr()  # a second command in one process
    handler = logging.StreamHandler(sys.stdout)  # as DeepSpeed adds its own when it is imported
    log.addHandler(handler)
    try:
        log.warning("Setting accelerator to CPU.")
    finally:
        log.removeHandler(handler)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Setting accelerator to CPU.\n")
