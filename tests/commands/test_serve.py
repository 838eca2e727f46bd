"""`qinsight serve`: its options, its mistakes, and the page it starts."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import chat_server
from pixel_engine import PixelEngine
from qinsight_cli.commands.serve import Engines, ServedPage, _listen
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS

WITH_GRADIO = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="pip install 'qinsight[serve]'")


@pytest.fixture
def options() -> Any:
    from qinsight_cli.commands.answers import ScoreAnswers
    from qinsight_cli.commands.options import Compute
    from qinsight_cli.commands.remote import Serving

    return {"serving": Serving(), "compute": Compute(), "answers": ScoreAnswers()}


def test_one_engine_serves_all_tasks_of_a_model(pixel_model: list[Any], options: Any) -> None:
    engines = Engines(ServedPage(**options))
    loaded = [engines.load(task)[0] for task in TASKS.values()]
    assert loaded == [pixel_model[0]] * len(TASKS)


def test_a_model_with_several_weights_is_loaded_for_each(pixel_model: list[Any], options: Any) -> None:
    engines = Engines(ServedPage(**options, model="q-insight"))
    loaded = {task.folder: engines.load(task)[0] for task in TASKS.values()}
    assert [loaded[folder] for folder in ("score_degradation", "comparison")] == pixel_model


def test_ratings_are_expected_unless_asked_otherwise(pixel_model: list[Any], options: Any) -> None:
    assert Engines(ServedPage(**options)).load(TASKS["score"])[1].rating == "expected"


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QInsightError, match=rf"cannot listen on .* port {port}: .*another port with --port N"):
            _listen("127.0.0.1", port)
    with pytest.raises(QInsightError, match=r"cannot listen on no\.such\.host\.invalid port 80"):
        _listen("no.such.host.invalid", 80)


def test_mistakes(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("serve", "--endpoint", "http://localhost:1/v1", "--mode", "direct").code == 2
    assert run("serve", "--port", "70000").code == 2
    monkeypatch.setattr("qinsight_cli.core.extras.is_installed", lambda name: False)
    done = run("serve")
    assert done.code == 1
    assert done.err.splitlines()[-1].endswith("pip install 'qinsight[serve]'")


@WITH_GRADIO
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_on_this_machine_alone_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    with _served(tmp_path, number) as (address, said):
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"qinsight" in answer.read()
        with pytest.raises(urllib.error.HTTPError):  # no file of this machine
            urllib.request.urlopen(f"{address}/gradio_api/file={Path(__file__)}", timeout=60)
        with _asked_about(address, str(secret)) as told:
            assert "was not uploaded" in str(told.read(), "utf-8")
        other = next((each for each in _addresses() if each not in ("127.0.0.1", "::1")), None)
        if other:
            with pytest.raises(OSError, match=r"refused|timed out"):
                socket.create_connection((other, int(address.rpartition(":")[2])), timeout=10)
        assert [each.name for each in tmp_path.glob("qinsight-page-*")]
    (line,) = said[1:]
    assert "the page is at" in line
    assert not list(tmp_path.glob("qinsight-page-*"))


@WITH_GRADIO
def test_it_ends_while_a_page_waits_for_a_silent_server(tmp_path: Path) -> None:
    """The server holds its first answer back until the page has ended."""
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    asked, over = threading.Event(), threading.Event()

    def hold(handler: chat_server.Handler) -> None:
        asked.set()
        over.wait(60)

    with chat_server.serving(PixelEngine(), fail=lambda number, body: hold) as (url, seen):
        with _served(tmp_path, signal.SIGINT, "--endpoint", url) as (address, said):
            told = _asked_about(address, _uploaded(address, tmp_path / "a.png"))  # stays open, as that of a browser
            assert asked.wait(60)
        assert seen.number == 1
        over.set()
    told.close()
    assert "the page is at" in said[-1]


@contextmanager
def _served(folder: Path, number: signal.Signals, *more: str) -> Iterator[tuple[str, list[str]]]:
    """A page in a process of its own, which `number` ends after the block -> its address, and the lines that it says,
    all of them after the block."""
    command = [sys.executable, "-m", "qinsight_cli", "serve", "--port", "0", *more]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        said: list[str] = []
        assert server.stderr is not None
        try:
            for line in server.stderr:
                said.append(line)
                if found := re.search(r"the page is at http://localhost:(\d+)", line):
                    break
            assert found, said
            yield f"http://127.0.0.1:{found[1]}", said
        finally:
            server.send_signal(number)
            said += server.stderr.readlines()
    assert server.returncode == 128 + number, said


def _uploaded(address: str, path: Path) -> str:
    """Where the page keeps a picture that a client has sent."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    form = head + path.read_bytes() + b"\r\n--x--\r\n"
    sent = urllib.request.Request(
        f"{address}/gradio_api/upload", form, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with urllib.request.urlopen(sent, timeout=60) as answer:
        return str(json.load(answer)[0])


def _asked_about(address: str, path: str) -> Any:
    """The stream of what the page says of a file; `path` is to be one that was uploaded."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as answer:
        found = json.load(answer)
    asked = {
        "data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]],
        "fn_index": found["dependencies"][0]["id"],
        "session_hash": "client",
    }
    joined = urllib.request.Request(
        f"{address}/gradio_api/queue/join", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(joined, timeout=60).close()
    return urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=client", timeout=60)


def _addresses() -> list[str]:
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        return []
