"""score, degrade, compare and bench with --endpoint, from the command line to the rows."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench_data
import chat_server
from pixel_engine import PixelEngine
from qinsight_cli.core.engines import replicas


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, chat_server.Behaviour]]:
    monkeypatch.setattr(replicas, "SHORTEST", 0.05)
    monkeypatch.setattr(replicas, "LONGEST", 0.2)
    monkeypatch.setattr(replicas, "RETRIES", 0)
    with chat_server.serving(PixelEngine()) as (url, seen):
        yield url, seen


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_rows_of_a_local_model(
    run: Any, photos: list[str], server: tuple[str, Any], pixel_model: list[Any]
) -> None:
    url, seen = server
    address = url.removesuffix("/v1")  # the usual path is added
    for verb, paths in (("score", ["photos"]), ("degrade", ["photos"]), ("compare", photos[:2])):
        more = ["--rating", "answer"] if verb == "score" else []
        there = run(verb, *paths, "--endpoint", address, "--csv", "there.csv", "--force", *more)
        here = run(verb, *paths, "--csv", "here.csv", "--force", *more)
        assert (there.code, here.code) == (0, 0), there.err
        assert rows("there.csv") == rows("here.csv")
        assert f"served at {address}" in there.err
    assert [len(chat_server.addresses(body)) for body in seen.bodies] == [1] * 14 + [2]


def test_without_probabilities_it_is_said_once(run: Any, photos: list[str], server: tuple[str, Any]) -> None:
    url, seen = server
    seen.logprobs = False
    done = run("score", "photos", "--endpoint", url, "--csv", "-")
    assert done.code == 0
    assert done.err.count("gives no probabilities") == 1
    assert [len(row["rating"].partition(".")[2]) for row in done.rows()] == [2] * 7
    assert not any("logprobs" in body for body in seen.bodies)


def test_what_was_not_answered_is_asked_again(run: Any, photos: list[str], server: tuple[str, Any]) -> None:
    url, seen = server
    seen.fail = lambda number, body: chat_server.status(503) if len(seen.calls) > 4 else None
    first = run("score", "photos", "--endpoint", url, "--concurrency", 1, "--csv", "out.csv", "--rating", "answer")
    assert first.code == 3
    assert "run the same command again to ask only those" in first.err
    assert [bool(row["error"]) for row in rows("out.csv")] == [False] * 4 + [True] * 3
    seen.fail = lambda number, body: None
    before = seen.number
    second = run("score", "photos", "--endpoint", url, "--concurrency", 1, "--csv", "out.csv", "--rating", "answer")
    assert second.code == 0, second.err
    assert seen.number - before == 3
    assert not any(row["error"] for row in rows("out.csv"))
    assert not os.path.exists("out.csv.journal.jsonl")


START = "import sys; from qinsight_cli import cli; sys.argv[0] = 'qinsight'; cli.main()"


def test_killed_and_run_again_nothing_is_asked_twice(photos: list[str], tmp_path: Path) -> None:
    """The process is killed while the server holds an answer back; what is in the journal is not asked again."""
    with chat_server.serving(PixelEngine()) as (url, seen):
        command = [sys.executable, "-c", START, "score", "photos", "--endpoint", url, "--csv", "out.csv"]
        command += ["--concurrency", "2", "--rating", "answer"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

        def stop(number: int, body: dict[str, Any]) -> Any:
            if number == 6:
                process.send_signal(signal.SIGKILL)
                return chat_server.drop
            return None

        seen.fail = stop
        assert process.wait(60) == -signal.SIGKILL
        kept = Path("out.csv.journal.jsonl").read_bytes().count(b"\n") - 1
        assert kept >= 2
        seen.fail, before = (lambda number, body: None), seen.number
        assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
        assert seen.number - before == 7 - kept
    assert len(rows("out.csv")) == 7


def test_ctrl_c_while_a_server_is_silent(photos: list[str]) -> None:
    with chat_server.serving(PixelEngine()) as (url, seen):
        command = [sys.executable, "-c", START, "score", "photos", "--endpoint", url, "--csv", "out.csv"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

        def stop(number: int, body: dict[str, Any]) -> Any:
            if number == 0:
                process.send_signal(signal.SIGINT)
            return chat_server.slow(0.5)

        seen.fail = stop
        assert process.stderr is not None
        for line in process.stderr:
            if "Ctrl-C again" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(30) == 130
        assert "Traceback" not in rest


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no address": (["--endpoint", "localhost:8000"], "give a URL such as"),
    "a key in the address": (["--endpoint", "http://me:key@host/v1"], "no key or password in the URL"),
    "a key in the query": (["--endpoint", "http://host/v1?key=abc"], "no ? or # in the URL"),
    "too long an address": (["--endpoint", "http://host/v1/chat/completions"], "give the URL up to /v1"),
    "a key itself": (["--endpoint", "http://h/v1", "--api-key-env", "sk-12"], "not the key"),
    "device": (["--endpoint", "http://h/v1", "--device", "cpu"], "--device is for a model on this machine"),
    "batch": (["--endpoint", "http://h/v1", "--batch-size", "4"], "--concurrency sets the"),
    "direct": (["--endpoint", "http://h/v1", "--mode", "direct"], "no endpoint gives"),
    "without": (["--concurrency", "4"], "--concurrency is for a served model"),
    "key alone": (["--api-key-env", "X"], "--api-key-env is for a served model"),
}


@pytest.mark.parametrize(("given", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(given: list[str], words: str, run: Any, photos: list[str]) -> None:
    for verb in ("score", "degrade"):
        done = run(verb, "photos", *given)
        assert (done.code, len(done.err.strip().splitlines())) == (2, 1), done.err
        assert words in done.err
        assert "sk-12" not in done.err


def test_bench_asks_a_server(
    run: Any, server: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brightness rises with the rating in the dataset, and so does what the server says."""
    monkeypatch.chdir(tmp_path)
    bench_data.scores(Path("data/koniq"), "koniq")
    url, seen = server
    done = run("bench", "table1", "--endpoint", url, "--model", "tiny", "--out", "out", "--bootstrap", 0)
    assert done.code == 0, done.err
    assert seen.number == 12
    assert float(bench_data.long_rows(Path("out/table1-long.csv"))["tiny", "KonIQ", "SRCC"]["value"]) == 1.0
