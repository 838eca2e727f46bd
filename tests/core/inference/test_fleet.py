"""One worker of a job: the cache of its machine answers what it can. Whole jobs are in commands/test_fleet.py."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference import fleet
from qinsight_cli.core.inference.part_files import Parts
from qinsight_cli.core.tasks import TASKS


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs one worker over three pictures, in the process of the test -> (pictures that the model saw, its rows)."""
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
    for number in range(3):
        Image.new("RGB", (8, 8), (50 * number,) * 3).save(tmp_path / f"{number}.png")
    units = [json.dumps([{"image": str(tmp_path / f"{number}.png")}]) for number in range(3)]

    def one(name: str, weights: str = "abc", **more: Any) -> tuple[int, list[dict[str, Any]]]:
        engine = PixelEngine()
        engine.identity = {"model": "pixels", "weights": weights}
        monkeypatch.setattr(fleet, "load", lambda *_: engine)
        (tmp_path / name).mkdir()
        parts = Parts(str(tmp_path / name), "jsonl", ("path",), ("path", "rating", "key"), ("rating",))

        def row(task: Any, results: Any, model: str) -> dict[str, Any]:
            (result,) = results
            return {"path": result.images["image"], "rating": result.answers[0].rating, "error": None}

        job = fleet.Job(TASKS["score"], "pixels", Decoding(), parts, row, folder=str(tmp_path), **more)
        (counts,) = fleet.Judge(job, [])({"unit": units})["counts"]
        assert json.loads(counts)["rows"] == 3
        rows = [json.loads(line) for file in (tmp_path / name).iterdir() for line in file.read_text().splitlines()]
        return sum(engine.batches), sorted(rows, key=lambda each: each["path"])

    return one


def test_a_second_job_asks_nothing_that_the_first_has_answered(asked: Any) -> None:
    first = asked("first", cached=True)
    assert first[0] == 3
    assert [row["rating"] for row in first[1]] == pytest.approx([1.0, 1.78, 2.57])
    assert asked("second", cached=True) == (0, first[1])
    assert asked("other weights", weights="xyz", cached=True)[0] == 3
    assert asked("without", cached=False)[0] == 3


@contextmanager
def answering(words: bytes) -> Iterator[str]:
    """A server that says the same to everybody -> its address."""

    class Say(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(words)

    with socketserver.TCPServer(("127.0.0.1", 0), Say) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_another_server_and_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not asked: it would wait for minutes."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        for name in (address, f"ray://{address}"):
            with pytest.raises(QInsightError, match=r"no Ray answers there \(another kind of server does\); check the"):
                fleet.connect(name)
    monkeypatch.setattr(fleet, "PATIENCE", 0.2)
    words = r"no Ray answers there \(timed out\); check the address"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(QInsightError, match=words):
        fleet.connect(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("mode", [None, "token"])
def test_a_cluster_that_refuses_may_ask_for_a_token(mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray tells a client without a token no more than that it has failed."""

    def init(**_: Any) -> None:
        raise ConnectionError("Failed to connect\nmore")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with answering(bytes(3) + b"\x04" + bytes(5)) as address, pytest.raises(QInsightError) as raised:
        fleet.connect(address)
    hint = (
        ""
        if mode
        else "; a cluster that asks for a token needs RAY_AUTH_MODE=token, and its token in ~/.ray/auth_token"
    )
    assert str(raised.value) == f"--ray {address}: Failed to connect{hint}"
