"""Models behind OpenAI-compatible servers: vLLM, SGLang, llama.cpp and others, one server or many with the same model.

Requests are sent as soon as their batch is prepared, at most `concurrency` at a time, while earlier batches are
pending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.engines import Completion, Decoding, Engine, Request, Served, Unanswered
from qinsight_cli.core.engines.chat import call_of, completions_of
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.fit import Target

if TYPE_CHECKING:
    from qinsight_cli.core.engines.replicas import Replicas

INSTALL = "--endpoint needs the package openai: pip install 'qinsight[endpoint]'"
HOPELESS = 64  # requests in a row that no server answered
PACE = 0.25  # seconds between two calls of a listener


@dataclass
class Sent:
    """A batch in flight: its requests and their future completions."""

    requests: Sequence[Request]
    futures: list[Future[list[Completion]]] = field(default_factory=list)


class EndpointEngine(Engine):
    """A served model. Pictures are scaled down only if there is a limit of pixels; else the files are sent unchanged.

    `listener` gets "" again and again while an answer is pending, and may raise to cancel it.
    """

    sends_files = True

    def __init__(
        self,
        model: str,
        replicas: Replicas,
        concurrency: int,
        max_pixels: int | None,
        facts: dict[str, Any],
        loop: Loop,
    ) -> None:
        """facts: what the servers report about the model, for the journal; "logprobs": whether they give
        probabilities."""
        self.reads_choices = bool(facts.pop("logprobs"))
        self.identity: dict[str, Any] = {
            "model": model,
            "engine": "endpoint",
            "max_pixels": max_pixels or None,
            **facts,
        }
        self.target = Target(1, 1, max_pixels) if max_pixels else None
        self._model, self._replicas = model, replicas
        self._loop = loop
        self._free = asyncio.Semaphore(concurrency)
        self._lost = 0
        self._one_by_one = False

    def prepare(self, requests: Sequence[Request]) -> Sent:
        return Sent(requests)

    def start(self, batch: Sent, decoding: Decoding) -> None:
        """Send the requests of a batch. `generate` waits for the answers."""
        batch.futures = [self._loop.run(self._ask(request, decoding)) for request in batch.requests]

    def generate(self, batch: Sent, decoding: Decoding) -> list[list[Completion] | Unanswered]:
        """For each request its completions, or why it has none.

        Raises QInsightError if the server refuses the key or the model, or after `HOPELESS` requests without an answer.
        """
        from qinsight_cli.core.engines.replicas import AGAIN, Lost

        if not batch.futures:
            self.start(batch, decoding)
        found: list[list[Completion] | Unanswered] = []
        try:
            for future in batch.futures:
                try:
                    found.append(self._awaited(future))
                except Unanswered as error:
                    found.append(error)
        except BaseException:
            for future in batch.futures:
                future.cancel()
            raise
        for each in found:
            self._lost = self._lost + 1 if isinstance(each, Lost) else 0
        if self._lost >= HOPELESS:
            last = f"the last {self._lost} requests got no answer: {found[-1]}"
            raise QInsightError(f"{last}; once the server is back, {AGAIN}")
        return found

    def _awaited(self, future: Future[list[Completion]]) -> list[Completion]:
        while self.listener is not None and not wait([future], PACE).done:
            self.listener("")
        return future.result()

    async def _ask(self, request: Request, decoding: Decoding) -> list[Completion]:
        async with self._free:
            found: list[Completion] = []
            while len(found) < decoding.samples:
                left = 1 if self._one_by_one else decoding.samples - len(found)
                more = await self._call(request, decoding, left, len(found))
                self._one_by_one = self._one_by_one or len(more) < left  # this server draws one sample per call
                found += more[:left]
            return found

    async def _call(self, request: Request, decoding: Decoding, samples: int, drawn: int) -> list[Completion]:
        """One call. `drawn` changes the seed, so that a further call does not draw the same samples again."""
        from qinsight_cli.core.engines.replicas import Lost

        async def call(client: Any) -> list[Completion]:
            fields = call_of(request, decoding, self._model, samples)
            fields["seed"] = (fields["seed"] + drawn) & 0x7FFFFFFF
            return completions_of(await client.chat.completions.create(**fields), request.choices)

        try:
            return await self._replicas.ask(call)
        except Unanswered as error:
            if samples == 1 or isinstance(error, Lost):
                raise
            found = await self._call(request, decoding, 1, drawn)
            self._one_by_one = True  # the server refused the number of samples, not the request
            return found


class Loop:
    """An event loop in its own daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="qinsight-endpoint", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def load_endpoint(
    model: str, served: Served, max_pixels: int | None = None, say: Callable[[str], None] = lambda words: None
) -> EndpointEngine:
    """The engine of a served model. Checks each server with one short request that has a picture.

    Raises QInsightError if the package openai is missing, the key's variable is not set, no server answers, or a server
    has no such API, refuses the key or pictures, or lacks the model.
    """
    try:
        import openai  # noqa: F401
    except ImportError:
        raise QInsightError(INSTALL) from None
    from qinsight_cli.core.engines.endpoint_checks import check, key_of
    from qinsight_cli.core.engines.replicas import Replicas

    key = key_of(served.key_variable)
    loop = Loop()  # not asyncio.run: a notebook has a loop of its own
    facts = loop.run(check(served, model, key, say)).result()
    replicas = Replicas(served.urls, key, served.timeout, say=say)
    silent = facts.pop("silent")
    for each in replicas.all:
        each.reported = each.url in silent
    return EndpointEngine(model, replicas, served.concurrency, max_pixels, facts, loop)
