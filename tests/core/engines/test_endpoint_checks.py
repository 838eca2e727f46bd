"""What is asked of a server before any picture is sent."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import chat_server
from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Served
from qinsight_cli.core.engines.endpoint import EndpointEngine, load_endpoint
from qinsight_cli.core.errors import QInsightError

pytestmark = pytest.mark.usefixtures("short_waits")


def served(*urls: str, **more: Any) -> EndpointEngine:
    return load_endpoint("tiny", Served(urls, **{"timeout": 20.0, **more}))


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"key": "right"}, "needs a key"),
        ({"model": "other"}, "has no model tiny; it has other"),
        ({"pictures": False}, "tiny refuses pictures: .*image input is not supported.*vision-language"),
    ],
    ids=["no key", "another model", "no pictures"],
)
def test_what_no_request_would_survive_is_said_at_once(behaviour: Any, words: str) -> None:
    with chat_server.serving(PixelEngine(), **behaviour) as (url, seen), pytest.raises(QInsightError, match=words):
        served(url)
    assert seen.number == 0


def test_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "wrong")
    with chat_server.serving(PixelEngine(), key="right") as (url, _):
        with pytest.raises(QInsightError, match="refuses the key in MY_KEY") as caught:
            served(url, key_variable="MY_KEY")
        assert "wrong" not in str(caught.value)
        monkeypatch.setenv("MY_KEY", "right")
        assert served(url, key_variable="MY_KEY").identity["model"] == "tiny"
        monkeypatch.delenv("MY_KEY")
        with pytest.raises(QInsightError, match="--api-key-env MY_KEY"):
            served(url, key_variable="MY_KEY")

    monkeypatch.setenv("MY_KEY", "right\nX-Other: 1")
    with pytest.raises(QInsightError, match="--api-key-env MY_KEY: its value is no key"):
        served("http://127.0.0.1:9/v1", key_variable="MY_KEY")


@contextmanager
def web_page(body: bytes, kind: str, status: int) -> Iterator[str]:
    """A web server that is no API -> its address."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


NO_API = "not as an OpenAI-compatible API: give the URL up to /v1"
CHECK = "check the URL, and that the server is up"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"<html>hello</html>", "text/html", 200, NO_API),
        (b"<html>not found</html>", "text/html", 404, NO_API),
        (b'{"hello": 1}', "application/json", 200, NO_API),
        (b'{"detail": "Not Found"}', "application/json", 404, NO_API),
        (
            b'{"message": "no route"}',
            "application/json",
            404,
            r"has no model tiny \(error 404: no route\): choose with",
        ),
        (b"<html>bad gateway</html>", "text/html", 502, f"answers with error 502; {CHECK}"),
        (b"{}", "application/json", 429, rf"answers with error 429 \(too many requests\); {CHECK}"),
    ],
)
def test_no_api(body: bytes, kind: str, status: int, words: str) -> None:
    with web_page(body, kind, status) as url, pytest.raises(QInsightError, match=words):
        served(url)


def test_nobody_there() -> None:
    with pytest.raises(QInsightError, match=rf"nothing answers at http://127.0.0.1:9/v1 \(.+\); {CHECK}"):
        served("http://127.0.0.1:9/v1")
    with pytest.raises(QInsightError, match=r"\((?!\[Errno).*not known|resol.*\)"):
        served("http://no.such.host.invalid/v1")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(QInsightError, match=f"in time; {CHECK}"):
        served(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=0.2)
    with (
        chat_server.serving(PixelEngine()) as (url, _),
        pytest.raises(QInsightError, match="does not use TLS: try http:"),
    ):
        served(url.replace("http:", "https:"))


def test_one_of_two_is_away() -> None:
    lines: list[str] = []
    with chat_server.serving(PixelEngine()) as (url, _):
        engine = load_endpoint("tiny", Served((url, "http://127.0.0.1:9/v1")), say=lines.append)
        assert len(lines) == 1
        assert "tried again later" in lines[0]
        assert [each.reported for each in engine._replicas.all] == [False, True]
