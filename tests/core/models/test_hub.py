"""Models from the hub and from its cache, without any network but this machine's own."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models import hub
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.models.names import locate, weights_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and nothing but it: the hub is out of reach."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_in_cache(cache: Path, repo: str, source: Path, subfolder: str = "", commit: str = COMMIT) -> None:
    """Lay a model folder out as the hub's cache does: blobs, refs, and a snapshot of links."""
    top = cache / f"models--{repo.replace('/', '--')}"
    snapshot = top / "snapshots" / commit / subfolder
    for directory in (top / "blobs", top / "refs", snapshot):
        directory.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        blob = top / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(blob)
    (top / "refs" / "main").write_text(commit)


def test_a_model_in_the_cache_loads_without_the_hub(cache: Path, random_model: Path) -> None:
    put_in_cache(cache, "ByteDance/Q-Insight", random_model, "score_degradation")
    model = load_model("q-insight")
    assert model.identity["weights"] == weights_digest(random_model), "cached and local weights are the same"
    for name in ("ByteDance/Q-Insight:score_degradation@main", f"q-insight@{COMMIT}"):
        assert locate(name) == locate("q-insight")


def test_cached_weights_are_not_read_again(cache: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_cache(cache, "someone/model", random_model)
    expected = weights_digest(random_model)
    monkeypatch.delattr(hashlib, "file_digest")
    assert weights_digest(locate("someone/model")) == expected


def test_two_revisions_in_the_cache(cache: Path, random_model: Path) -> None:
    put_in_cache(cache, "someone/model", random_model, commit=OLDER)
    put_in_cache(cache, "someone/model", random_model, commit=COMMIT)
    assert OLDER in str(locate(f"someone/model@{OLDER}"))
    assert COMMIT in str(locate("someone/model"))


def test_a_subfolder_that_is_not_there(cache: Path, random_model: Path) -> None:
    put_in_cache(cache, "ByteDance/Q-Insight", random_model, "score_degradation")
    with pytest.raises(QInsightError, match="no folder 'comparison'"):
        load_model("q-insight:comparison")


def test_only_a_part_in_the_cache(cache: Path, random_model: Path) -> None:
    put_in_cache(cache, "someone/model", random_model)
    next(cache.rglob("model.safetensors")).unlink()
    with pytest.raises(QInsightError, match="has no weights"):
        load_model("someone/model")


class SilentServer:
    """A server that takes requests and never answers, as some firewalls look. It counts them."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._open.append(self._socket.accept()[0])
                self.calls += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for each in (self._socket, *self._open):
            each.close()


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


def go_online(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def test_nothing_in_the_cache_and_offline(
    cache: Path, silent_server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_online(silent_server.address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(QInsightError, match=r"the hub cannot be reached.*--model tiny"):
        load_model("q-insight")
    assert silent_server.calls == 0  # an offline run does not even ask


def test_a_hub_that_never_answers(
    cache: Path, random_model: Path, silent_server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each load asks once and waits PATIENCE: without a limit this test would never end."""
    go_online(silent_server.address, monkeypatch)
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    with pytest.raises(QInsightError, match="the hub cannot be reached"):
        load_model("someone/model")
    put_in_cache(cache, "someone/model", random_model)
    assert silent_server.calls == 1
    assert COMMIT in str(locate("someone/model"))
    assert silent_server.calls == 2


def test_a_download(cache: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a hub on this machine: only the subfolder, no pickle and no code; then again without the hub."""
    files = {f"part/{path.name}": path.read_bytes() for path in random_model.iterdir()}
    unwanted = {"part/pytorch_model.bin": b"pickle", "part/modeling.py": b"code", "other/config.json": b"{}"}
    with FakeHub("someone/model", COMMIT, files | unwanted) as endpoint:
        go_online(endpoint, monkeypatch)
        model = load_model("someone/model:part")
        assert model.identity["weights"] == weights_digest(random_model)
        with pytest.raises(QInsightError, match="no revision 'v9'"):
            load_model("someone/model:part@v9")
        with pytest.raises(QInsightError, match="no such model on the hub"):
            load_model("someone/modle")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    names = {path.name for path in locate("someone/model:part").iterdir()}
    assert not names & {"pytorch_model.bin", "modeling.py"}
    assert not (locate("someone/model:part").parent / "other").exists()


class FakeHub:
    """A hub of one model, `files` {path: content} at `commit`, as far as a download needs. A context: its address."""

    def __init__(self, repo: str, commit: str, files: dict[str, bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path in (f"/api/models/{repo}", f"/api/models/{repo}/revision/main"):
                    self.answer(json.dumps({"id": repo, "sha": commit, "siblings": []}).encode())
                elif path == f"/api/models/{repo}/tree/{commit}":
                    self.answer(json.dumps([_entry(name, content) for name, content in files.items()]).encode())
                elif path.removeprefix(f"/{repo}/resolve/{commit}/") in files:
                    self.answer(files[path.removeprefix(f"/{repo}/resolve/{commit}/")])
                else:
                    known = path.startswith(f"/api/models/{repo}/")
                    self.answer(b"{}", 404, "RevisionNotFound" if known else "RepoNotFound")

            do_HEAD = do_GET

            def answer(self, body: bytes, status: int = 200, code: str | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", commit)
                if code:
                    self.send_header("X-Error-Code", code)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
