"""Servers of the same model: each request goes to the least busy server, is retried, and ends in an error.

The `openai` client of each server retries a call with its own back-off if the server answers 408, 409, 429 or 5xx,
drops the connection or takes too long. A server that still fails is set aside, longer each time, and the request goes
to another server.
Imports openai: import this module only when a server is in use.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI

from qinsight_cli.core.engines import Unanswered
from qinsight_cli.core.engines.chat import UnusableResponse
from qinsight_cli.core.errors import QInsightError

RETRIES = 2  # of one call, by the client
ROUNDS = 3  # calls for one request, each with its retries
SHORTEST, LONGEST = 1.0, 60.0  # seconds for which a failing server is set aside
NO_KEY = "none"  # the client needs a key; servers without keys ignore it

# Failures of a whole server or of its connection: another server may work.
TRANSIENT = (
    openai.APIConnectionError,
    openai.InternalServerError,
    openai.RateLimitError,
    openai.ConflictError,
    UnusableResponse,
)
# HTTP errors that end the job, because every other request would fail too.
FINAL = {401: "refuses the key", 402: "requires payment", 403: "refuses the key", 404: "no longer has the model"}
AGAIN = "run the same command again to resume"
REPORTED = 3  # failures in a row after which the user is told about a server


@dataclass(eq=False)
class Replica:
    """One server. After `failures` in a row it is set aside until `aside` on the monotonic clock."""

    url: str
    client: AsyncOpenAI
    busy: int = 0
    aside: float = 0.0
    failures: int = 0
    reported: bool = False

    def fail(self, words: str, say: Callable[[str], None]) -> None:
        """Set the server aside. Requests that were in flight together count as one failure. `say` gets a line once per
        outage."""
        now = time.monotonic()
        if now >= self.aside:
            self.failures += 1
            self.aside = now + min(LONGEST, SHORTEST * 2 ** (self.failures - 1))
        if self.failures >= REPORTED and not self.reported:
            self.reported = True
            say(f"{self.url} does not answer: {words}; it is tried again, less often each time")

    def recover(self, say: Callable[[str], None]) -> None:
        if self.reported:
            say(f"{self.url} answers again")
        self.failures, self.aside, self.reported = 0, 0.0, False


class Lost(Unanswered):
    """No server gave a usable answer."""


class Replicas:
    """The servers of a model. All calls come from one event loop."""

    def __init__(
        self,
        urls: tuple[str, ...],
        key: str | None,
        timeout: float,
        retries: int | None = None,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._key, self._say = key, say
        retries = RETRIES if retries is None else retries
        fields: dict[str, Any] = {"api_key": key or NO_KEY, "timeout": timeout, "max_retries": retries}
        self.all = [Replica(url, AsyncOpenAI(base_url=url, **fields)) for url in urls]

    async def ask(self, call: Callable[[AsyncOpenAI], Awaitable[Any]]) -> Any:
        """The result of `call` with the client of some server. `call` raises UnusableResponse to try another.

        Raises Unanswered if only this request failed (Lost: no server answered), QInsightError if all would fail.
        """
        last: Exception | None = None
        for _ in range(ROUNDS):
            replica = await self._free()
            replica.busy += 1
            try:
                found = await call(replica.client)
            except TRANSIENT as error:
                last = error
            except openai.APIStatusError as error:
                if error.status_code in FINAL:
                    what = f"{replica.url} {FINAL[error.status_code]} ({self.words(error)})"
                    raise QInsightError(f"{what}; fix that, then {AGAIN}") from None
                raise Unanswered(f"{replica.url} refused the request: {self.words(error)}") from None
            except (openai.OpenAIError, ValueError) as error:  # the body is no JSON
                last = UnusableResponse(f"its response cannot be read ({self.words(error)})")
            else:
                replica.recover(self._say)
                return found
            finally:
                replica.busy -= 1
            replica.fail(self.words(last), self._say)
        assert last is not None
        raise Lost(f"{ROUNDS} attempts failed, the last at {replica.url}: {self.words(last)}")

    async def _free(self) -> Replica:
        """The least busy server that is not set aside. Waits if all are."""
        while True:
            now = time.monotonic()
            ready = [each for each in self.all if each.aside <= now]
            if ready:
                # After a failure a server gets one request before it gets more.
                return min(ready, key=lambda each: (each.failures > 0 and each.busy > 0, each.busy))
            await asyncio.sleep(min(each.aside for each in self.all) - now)

    def words(self, error: Exception) -> str:
        """One line for the user, without the key."""
        if isinstance(error, openai.APITimeoutError):
            return "no answer in time"
        if isinstance(error, openai.APIConnectionError):
            return f"no connection ({root_of(error)})"
        message = " ".join(str(getattr(error, "message", "") or error).split())
        if isinstance(error, openai.APIStatusError):  # "Error code: 429 - too fast"
            message = ": ".join(filter(None, (f"error {error.status_code}", message.partition(" - ")[2])))
        return message.replace(self._key, "***")[:300] if self._key else message[:300]


def root_of(error: BaseException) -> str:
    """The message of the innermost cause, without the error number."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = " ".join(str(error).split()) or type(error).__name__
    if "WRONG_VERSION_NUMBER" in words or "record layer failure" in words:
        return "it does not use TLS: try http:// instead of https://"
    return re.sub(r"^\[Errno -?\d+\] ", "", words)
