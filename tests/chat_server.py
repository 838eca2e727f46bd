"""An OpenAI-compatible server on loopback for tests: a real one, around any engine, that can be told to fail.

It answers `/v1/models` and `/v1/chat/completions` with pictures as data URIs, several samples, stop texts and, around
the local engine, the log-probabilities of tokens.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chat_answers import addresses, completion

# A failure is a function of the handler that answers in the place of the model.
Failure = Callable[["Handler"], None]


def status(code: int, words: str = "busy", **headers: str) -> Failure:
    return lambda handler: handler.send_json({"error": {"message": words}}, code, headers)


def garbage(handler: Handler) -> None:
    handler.send_bytes(b"<html>proxy</html>" * 3, 200, "text/html")


def broken_json(handler: Handler) -> None:
    handler.send_bytes(b'{"choices": [{"mess', 200, "application/json")


def empty(handler: Handler) -> None:
    handler.send_json({"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}]})


def no_choices(handler: Handler) -> None:
    handler.send_json({"id": "x", "choices": []})


def drop(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


def half(handler: Handler) -> None:
    """The head promises more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.close_connection = True


def slow(seconds: float) -> Failure:
    def wait(handler: Handler) -> None:
        time.sleep(seconds)
        drop(handler)

    return wait


@dataclass
class Behaviour:
    """What the server does, and what it has seen. `fail` gives the failure of a call, None to answer it.

    calls    of each picture's bytes, by their data URI; `bodies` the whole requests
    most     requests that were under way at a time
    """

    engine: Any
    model: str = "tiny"
    key: str | None = None
    logprobs: bool = True
    pictures: bool = True
    samples: int = 100
    fail: Callable[[int, dict[str, Any]], Failure | None] = lambda number, body: None
    delay: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
    now: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)
    turn: Any = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *_: Any) -> None:
        pass

    def send_bytes(self, data: bytes, code: int, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, what: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(json.dumps(what).encode(), code, "application/json", headers)

    def _allowed(self) -> bool:
        key = self.behaviour.key
        return key is None or self.headers.get("Authorization") == f"Bearer {key}"

    def do_GET(self) -> None:
        if not self._allowed():
            self.send_json({"error": {"message": "wrong key"}}, 401)
        elif self.path == "/v1/models":
            self.send_json({"object": "list", "data": [{"id": self.behaviour.model, "object": "model"}]})
        else:
            self.send_json({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        behaviour = self.behaviour
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._allowed():
            self.send_json({"error": {"message": "wrong key"}}, 401)
            return
        if self.path != "/v1/chat/completions":
            self.send_json({"detail": "Not Found"}, 404)
            return
        question = body["max_tokens"] > 1  # not the check before it
        with behaviour.lock:
            number = behaviour.number
            if question:
                behaviour.number += 1
                behaviour.now += 1
                behaviour.most = max(behaviour.most, behaviour.now)
                behaviour.bodies.append(body)
                behaviour.calls.update(addresses(body)[-1:])
        try:
            if question and (failure := behaviour.fail(number, body)) is not None:
                failure(self)
                return
            time.sleep(behaviour.delay)
            self._answer(body)
        finally:
            with behaviour.lock:
                behaviour.now -= question

    def _answer(self, body: dict[str, Any]) -> None:
        behaviour = self.behaviour
        refusal = None
        if body["model"] != behaviour.model:
            self.send_json({"error": {"message": "no such model"}}, 404)
            return
        if addresses(body) and not behaviour.pictures:
            refusal = "image input is not supported"
        elif body.get("logprobs") and not behaviour.logprobs:
            refusal = "logprobs are not supported"
        elif body.get("n", 1) > behaviour.samples:
            refusal = "only one completion choice is allowed"
        if refusal:
            self.send_json({"error": {"message": refusal}}, 400)
            return
        with behaviour.turn:  # an engine is for one thread
            self.send_json(completion(behaviour.engine, body))


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        """End every connection, as when the process is killed."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        """A client that has gone is no news."""


@contextmanager
def serving(engine: Any, port: int = 0, **behaviour: Any) -> Iterator[tuple[str, Behaviour]]:
    """A server -> its address up to /v1, and its behaviour, which may be changed while it runs."""
    seen = Behaviour(engine, **behaviour)
    server = Server(("127.0.0.1", port), type("Own", (Handler,), {"behaviour": seen}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
        server.cut()
        thread.join()
