"""The file of the cache: what it keeps, and that nothing that happens to it stops a command."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference import cache as module
from qinsight_cli.core.inference import cache_file as cache_file_module
from qinsight_cli.core.inference.cache import AnswerCache
from qinsight_cli.core.inference.cache_file import FILE, cache_file, manage
from qinsight_cli.core.models.names import resolve
from qinsight_cli.core.report.doctor import cache as cache_finding

SCOPE = b"s" * 32


def record(i: int) -> dict[str, Any]:
    return {"completions": [{"text": f"answer {i} " * 20, "prompt_tokens": i}], "notes": [], "seconds": 0.5}


# --- what the file keeps -------------------------------------------------------------------------------------------


def test_answers_come_back_under_their_scope_alone(tmp_path: Path) -> None:
    said: list[str] = []
    with AnswerCache(SCOPE, said.append, tmp_path / FILE) as cache:
        assert not cache
        cache.put({f"q{i}": record(i) for i in range(20)})
        assert cache
    with AnswerCache(SCOPE, said.append, tmp_path / FILE) as cache:
        assert [cache.get(f"q{i}") for i in range(20)] == [record(i) for i in range(20)]
        assert cache.get("another") is None
    with AnswerCache(b"t" * 32, said.append, tmp_path / FILE) as other:
        assert not other
        assert other.get("q3") is None
    assert said == []


def test_the_file_stays_below_its_bound_and_keeps_what_was_used_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path))
    assert manage(bound=300_000).bound == 300_000
    today = module._today()
    monkeypatch.setattr(module, "_today", lambda: today)
    with AnswerCache(SCOPE, print) as cache:
        cache.put({f"old{i}": record(i) for i in range(300)})
    monkeypatch.setattr(module, "_today", lambda: today + 1)
    with AnswerCache(SCOPE, print) as cache:
        for i in range(20):  # used again a day later
            assert cache.get(f"old{i}") == record(i)
    for batch in range(40):
        with AnswerCache(SCOPE, print) as cache:
            cache.put({f"new{batch}-{i}": record(i) for i in range(15)})
        assert cache_file().stat().st_size <= 300_000
    with AnswerCache(SCOPE, print) as cache:
        assert cache.get("new39-14") == record(14)
        assert cache.get("old250") is None
        assert [i for i in range(20, 300) if cache.get(f"old{i}") is not None] == []
    facts = manage()
    assert 100 < facts.answers < 600
    assert manage(clear=True).answers == 0
    assert cache_file().stat().st_size < 50_000


def test_what_is_read_today_outlives_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path))
    manage(bound=200_000)
    with AnswerCache(SCOPE, print) as cache:
        cache.put({f"q{i}": record(i) for i in range(200)})
    today = module._today()
    monkeypatch.setattr(module, "_today", lambda: today + 1)
    with AnswerCache(SCOPE, print) as cache:
        for i in range(10):
            cache.get(f"q{i}")
        cache.put({f"more{i}": record(i) for i in range(200)})
        assert [cache.get(f"q{i}") for i in range(10)] == [record(i) for i in range(10)]
        assert cache.get("q10") is None


# --- what can happen to it -----------------------------------------------------------------------------------------


WRITER = """
import sys
from qinsight_cli.core.inference.cache import AnswerCache
from pathlib import Path
name, count, limit = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def record(i):
    return {"completions": [{"text": f"answer {i} " * 20, "prompt_tokens": i}], "notes": [], "seconds": 0.5}
with AnswerCache(b"s" * 32, lambda words: print("SAID", words, flush=True), Path(sys.argv[1])) as cache:
    for i in range(count):
        cache.put({f"{name}{i}": record(i)})
        print(i, flush=True)
"""


def start(path: Path, name: str, count: int, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_at_any_moment_loses_no_answer_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE
    for turn in range(4):
        writer = start(path, f"t{turn}-", 100_000)
        assert writer.stdout is not None
        done = [int(writer.stdout.readline()) for _ in range(5 + 7 * turn)]
        time.sleep(0.003 * turn)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        said: list[str] = []
        with AnswerCache(SCOPE, said.append, path) as cache:
            assert [cache.get(f"t{turn}-{i}") for i in done] == [record(i) for i in done]
        assert said == []
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / FILE
    both = [start(path, name, 60) for name in ("a", "b")]
    outs = [each.communicate()[0] for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert "SAID" not in outs[0] + outs[1]
    with AnswerCache(SCOPE, print, path) as cache:
        assert all(cache.get(f"{name}{i}") == record(i) for name in "ab" for i in range(60))


@pytest.mark.skipif(os.name == "nt", reason="needs a limit of file sizes")
def test_a_full_disk_costs_one_line(tmp_path: Path) -> None:
    writer = start(tmp_path / FILE, "q", 200, limit=60_000)
    out, _ = writer.communicate()
    assert writer.returncode == 0
    said = [line for line in out.splitlines() if line.startswith("SAID")]
    assert len(said) == 1
    assert "cannot be used" in said[0]
    assert out.splitlines()[-1] == "199", "the command goes on to its end"
    with AnswerCache(SCOPE, print, tmp_path / FILE) as cache:
        assert cache.get("q0") == record(0)
    assert not list(tmp_path.glob("*.broken")), "a full disk does not make a file torn"


def test_no_place_for_the_file_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with AnswerCache(SCOPE, said.append, tmp_path / "file" / FILE) as cache:
        cache.put({"q": record(1)})
        assert cache.get("q") is None
        assert not cache
    assert len(said) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs a mode that forbids writing")
def test_a_read_only_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with AnswerCache(SCOPE, print, path) as cache:
        cache.put({"q": record(1)})
    said: list[str] = []
    read_only = f"{path.as_uri()}?mode=ro"
    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:  # as on a disk that is mounted read-only, also for root
        patch.setattr(sqlite3, "connect", lambda _, **settings: connect(read_only, uri=True, **settings))
        with AnswerCache(SCOPE, said.append, path) as cache:
            assert cache.get("q") == record(1)
            assert said == []
            for number in range(2):
                cache.put({f"new {number}": record(2)})
            assert cache.get("q") == record(1)
    assert len(said) == 1
    assert "the answer cache cannot be written" in said[0]


def test_a_user_without_a_home_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("QINSIGHT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    said: list[str] = []
    with AnswerCache(SCOPE, said.append) as cache:
        cache.put({"q": record(1)})
        assert cache.get("q") is None
    assert len(said) == 1
    assert "name a folder in QINSIGHT_CACHE" in said[0]
    with pytest.raises(QInsightError, match="no home folder"):
        manage()
    monkeypatch.delenv("QINSIGHT_NO_CACHE", raising=False)
    assert next(cache_finding()).trap


def test_the_home_of_somebody_unknown_is_a_plain_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINSIGHT_CACHE", "~nobody-of-this-name/x")
    monkeypatch.chdir(tmp_path)
    with AnswerCache(SCOPE, print) as cache:
        cache.put({"q": record(1)})
    assert manage().answers == 1
    with pytest.raises(QInsightError, match="no such folder"):
        resolve("~nobody-else/x")


def test_a_file_locked_for_long_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file_module, "PATIENCE", 0.05)
    said: list[str] = []
    with AnswerCache(SCOPE, said.append, tmp_path / FILE) as cache:
        cache.put({"q": record(1)})
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert cache.get("q") is None
        cache.put({"r": record(2)})
        other.execute("ROLLBACK")
        assert cache.get("q") == record(1)
    assert len(said) == 1


def damages(whole: bytes) -> list[bytes]:
    rng = random.Random(0)
    torn = [whole[: len(whole) * i // 9] for i in range(9)] + [b"", b"not a database" * 500, whole[:100] + bytes(9999)]
    for _ in range(60):
        flipped = bytearray(whole)
        for _ in range(rng.choice((1, 5, 200))):
            flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        torn.append(bytes(flipped))
    for _ in range(20):  # a block of another time, or of zeros
        at = rng.randrange(0, len(whole) - 512, 512)
        torn.append(whole[:at] + rng.choice((bytes(512), rng.randbytes(512))) + whole[at + 512 :])
    return torn


def test_a_torn_file_never_gives_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with AnswerCache(SCOPE, print, path) as cache:
        cache.put({f"q{i}": record(i) for i in range(40)})
    whole = path.read_bytes()
    noticed = 0
    for torn in damages(whole):
        path.write_bytes(torn)
        said: list[str] = []
        with AnswerCache(SCOPE, said.append, path) as cache:
            bool(cache)
            found = {i: cache.get(f"q{i}") for i in range(40)}
            assert all(each in (None, record(i)) for i, each in found.items())
            cache.put({"new": record(99)})
            if not said or "cannot be used" not in said[-1]:
                assert cache.get("new") in (None, record(99))
        noticed += any("was damaged" in words for words in said)
        with AnswerCache(SCOPE, said.append, path) as cache:
            cache.put({"later": record(7)})
        for left in tmp_path.iterdir():
            left.unlink()
    assert noticed > 20


def test_a_file_renewed_by_another_process_is_not_set_aside(tmp_path: Path) -> None:
    path, said = tmp_path / FILE, []
    with AnswerCache(SCOPE, said.append, path) as first:
        first.put({"q": record(1)})
        os.replace(path, tmp_path / "torn")  # the other process found it torn, and began anew
        (tmp_path / "torn").write_bytes(b"x" * 9000)
        with AnswerCache(SCOPE, said.append, path) as second:
            second.put({"r": record(2)})
        first.get("q")
        assert first.get("r") == record(2)
    assert path.exists()
    assert json.dumps(said).count("was damaged") == 1
