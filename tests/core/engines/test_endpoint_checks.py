"""What is asked of a server before any picture is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import chat_server
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
def test_what_no_request_would_survive_is_said_at_once(behaviour: Any, words: str, pixel_engine: Any) -> None:
    with chat_server.serving(pixel_engine(), **behaviour) as (url, seen), pytest.raises(QInsightError, match=words):
        served(url)
    assert seen.number == 0


def test_a_wrong_key(pixel_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "wrong")
    with chat_server.serving(pixel_engine(), key="right") as (url, _):
        with pytest.raises(QInsightError, match="refuses the key in MY_KEY") as caught:
            served(url, key_variable="MY_KEY")
        assert "wrong" not in str(caught.value)
        monkeypatch.setenv("MY_KEY", "right")
        assert served(url, key_variable="MY_KEY").identity["model"] == "tiny"
        monkeypatch.delenv("MY_KEY")
        with pytest.raises(QInsightError, match="--api-key-env MY_KEY"):
            served(url, key_variable="MY_KEY")


@pytest.fixture
def web_page() -> Iterator[str]:
    """A web server that is no API."""
    import http.server

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_no_api_and_nobody_there(web_page: str, pixel_engine: Any) -> None:
    with pytest.raises(QInsightError, match="not as an OpenAI-compatible API"):
        served(web_page)
    with pytest.raises(QInsightError, match=r"nothing answers at http://127.0.0.1:9/v1"):
        served("http://127.0.0.1:9/v1")
    lines: list[str] = []
    with chat_server.serving(pixel_engine()) as (url, _):
        load_endpoint("tiny", Served((url, "http://127.0.0.1:9/v1")), say=lines.append)
    assert len(lines) == 1
    assert "tried again later" in lines[0]
