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
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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
    command = [sys.executable, "-m", "qinsight_cli", "serve", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        said = ""
        try:
            for line in server.stderr or ():
                said += line
                if found := re.search(r"the page is at http://localhost:(\d+)", line):
                    break
            assert found, said
            address = f"http://127.0.0.1:{found[1]}"
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert b"qinsight" in answer.read()
            with pytest.raises(urllib.error.HTTPError):  # no file of this machine
                urllib.request.urlopen(f"{address}/gradio_api/file={Path(__file__)}", timeout=60)
            assert "was not uploaded" in _asked_about(address, secret)
            other = next((each for each in _addresses() if each not in ("127.0.0.1", "::1")), None)
            if other:
                with pytest.raises(OSError, match=r"refused|timed out"):
                    socket.create_connection((other, int(found[1])), timeout=10)
            assert [each.name for each in tmp_path.glob("qinsight-page-*")]
        finally:
            server.send_signal(number)
            said += server.stderr.read() if server.stderr else ""
    assert server.returncode == 128 + number, said
    assert said.count("Traceback") <= 1  # Gradio shows one for the file that was refused
    assert not list(tmp_path.glob("qinsight-page-*"))


def _asked_about(address: str, path: Path) -> str:
    """What the page says when a client names a file of the machine in place of one that it uploaded."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as answer:
        found = json.load(answer)
    asked = {
        "data": [[{"path": str(path), "meta": {"_type": "gradio.FileData"}}]],
        "fn_index": found["dependencies"][0]["id"],
        "session_hash": "client",
    }
    joined = urllib.request.Request(
        f"{address}/gradio_api/queue/join", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(joined, timeout=60).close()
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=client", timeout=60) as told:
        return str(told.read(), "utf-8")


def _addresses() -> list[str]:
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        return []
