"""An OpenAI-compatible server on loopback for tests: a real one, around any engine, that can be told to fail.

It answers `/v1/models` and `/v1/chat/completions` with pictures as data URIs, several samples, stop texts and, around
the local engine, the log-probabilities of tokens.
"""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from qinsight_cli.core.engines import Decoding, Request

STOP = "</answer>"
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
                behaviour.calls.update(_addresses(body)[-1:])
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
        if _addresses(body) and not behaviour.pictures:
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


def _addresses(body: dict[str, Any]) -> list[str]:
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def completion(engine: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The response of a server around an engine."""
    pictures = [_opened(address) for address in _addresses(body)]
    request = Request(_messages(body), tuple(pictures), body.get("seed", 0))
    if body["max_tokens"] == 1:
        found = log_probabilities(engine, request, "ok", body["top_logprobs"]) if body.get("logprobs") else None
        return _response([("ok", "stop", found)], 1, 1)
    decoding = Decoding(
        max_new_tokens=body["max_tokens"],
        samples=body.get("n", 1),
        temperature=body["temperature"],
        top_p=body.get("top_p", 1.0),
        top_k=body.get("top_k", 0),
    )
    (drawn,) = engine.generate(engine.prepare([request]), decoding)
    choices = []
    for each in drawn:
        found = log_probabilities(engine, request, each.text, body["top_logprobs"]) if body.get("logprobs") else None
        text = each.text.removesuffix(STOP) if STOP in body.get("stop", ()) else each.text  # as servers do
        choices.append((text, each.finish_reason, found))
    return _response(choices, drawn[0].prompt_tokens, sum(each.completion_tokens for each in drawn))


def _response(choices: Sequence[tuple[str, str, Any]], prompt_tokens: int, tokens: int) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": reason,
                "logprobs": None if found is None else {"content": found},
            }
            for index, (text, reason, found) in enumerate(choices)
        ],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens},
    }


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """As `Task.messages` makes them."""
    messages = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages.append(
            {
                "role": message["role"],
                "content": [{"type": "image"} if part["type"] == "image_url" else part for part in parts],
            }
        )
    return messages


def _opened(address: str) -> Image.Image:
    """As plainly as servers do it."""
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


def log_probabilities(engine: Any, request: Request, text: str, alternatives: int) -> list[dict[str, Any]] | None:
    """Each token of a text with its likeliest alternatives, in the form of the API, from one pass over the network."""
    if not hasattr(engine, "_network"):
        return None
    import torch

    from qinsight_cli.core.engines.generate import pad_prompts

    tokenizer, network = engine._tokenizer, engine._network
    written = tokenizer(text)["input_ids"]
    prompt = engine.prepare([request]).prompts
    ids = [*prompt.input_ids[0].tolist(), *written]
    whole = pad_prompts(network, [ids], prompt.pixels, prompt.grids, tokenizer.pad_token_id)
    with torch.inference_mode():
        logits = network(
            input_ids=whole.input_ids,
            attention_mask=whole.mask,
            position_ids=whole.positions,
            pixel_values=whole.pixels,
            image_grid_thw=whole.grids,
            logits_to_keep=len(written) + 1,
        ).logits[0, :-1]
    likely = logits.float().log_softmax(dim=1)
    found = []
    for row, token in zip(likely, written, strict=True):
        best = row.topk(min(alternatives, len(row)))
        tops = [_entry(tokenizer, i, p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        found.append({**_entry(tokenizer, token, row[token].item()), "top_logprobs": tops})
    return found


def _entry(tokenizer: Any, token: int, log_probability: float) -> dict[str, Any]:
    return {"token": tokenizer.decode([token]), "logprob": log_probability, "bytes": None}


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
