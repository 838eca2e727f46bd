"""Servers of the same model: each request to the least busy one that answers, again when it fails, an error at last.

One client of `openai` for each server repeats a call itself, with its own back-off, when the server answers 408, 409,
429 or 5xx, drops the connection or takes too long. A server that still fails is set aside, for longer each time, and
the request goes to another.
Imports openai: import this module only when a server is in use.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI

from qinsight_cli.core.engines import Unanswered
from qinsight_cli.core.engines.chat import UnusableResponse
from qinsight_cli.core.errors import QInsightError

REPEATS = 2  # of one call by the client
ROUNDS = 3  # calls for one request, each with its repeats
SHORTEST, LONGEST = 1.0, 60.0  # seconds that a failing server is set aside
NO_KEY = "none"  # the client needs one; servers without keys do not look

# Failures of the whole server, or of the way to it, which another server need not have.
TRANSIENT = (
    openai.APIConnectionError,
    openai.InternalServerError,
    openai.RateLimitError,
    openai.ConflictError,
    UnusableResponse,
)
FINAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


@dataclass(eq=False)
class Replica:
    """One server. It is set aside until `aside` on the monotonic clock, after `failures` in a row."""

    url: str
    client: AsyncOpenAI
    busy: int = 0
    aside: float = 0.0
    failures: int = 0

    def fail(self) -> None:
        """Set it aside. Requests that were under way together count as one failure."""
        now = time.monotonic()
        if now >= self.aside:
            self.failures += 1
            self.aside = now + min(LONGEST, SHORTEST * 2 ** (self.failures - 1))

    def recover(self) -> None:
        self.failures, self.aside = 0, 0.0


class Lost(Unanswered):
    """No server answered, or none with anything that could be used."""


class Replicas:
    """The servers and how they are asked. All calls come from one event loop."""

    def __init__(self, urls: tuple[str, ...], key: str | None, timeout: float, repeats: int | None = None) -> None:
        self._key = key
        fields: dict[str, Any] = {
            "api_key": key or NO_KEY,
            "timeout": timeout,
            "max_retries": REPEATS if repeats is None else repeats,
        }
        self.all = [Replica(url, AsyncOpenAI(base_url=url, **fields)) for url in urls]

    async def ask(self, call: Callable[[AsyncOpenAI], Awaitable[Any]]) -> Any:
        """What `call` makes of a server's answer. It may raise UnusableResponse, which counts as a failure.

        Raises Unanswered (Lost, if no server answered) for this request alone, QInsightError when further requests
        would not be answered either.
        """
        last: Exception | None = None
        for _ in range(ROUNDS):
            replica = await self._free()
            replica.busy += 1
            try:
                found = await call(replica.client)
            except TRANSIENT as error:
                last = error
                replica.fail()
            except FINAL as error:
                raise QInsightError(f"{replica.url}: {self.words(error)}") from None
            except openai.APIStatusError as error:
                raise Unanswered(f"{replica.url} refused the request: {self.words(error)}") from None
            except (openai.OpenAIError, ValueError) as error:  # a body that is no JSON
                last = UnusableResponse(f"its response cannot be read ({type(error).__name__})")
                replica.fail()
            else:
                replica.recover()
                return found
            finally:
                replica.busy -= 1
        assert last is not None
        raise Lost(f"{replica.url} failed {ROUNDS} times, at last: {self.words(last)}")

    async def _free(self) -> Replica:
        """The least busy server that is not set aside; waits when all are."""
        while True:
            now = time.monotonic()
            ready = [each for each in self.all if each.aside <= now]
            if ready:
                # A server that is tried again after a failure gets one request before it gets more.
                return min(ready, key=lambda each: (each.failures > 0 and each.busy > 0, each.busy))
            await asyncio.sleep(min(each.aside for each in self.all) - now)

    def words(self, error: Exception) -> str:
        """One line for the user, without the key."""
        if isinstance(error, openai.APITimeoutError):
            return "no answer in time"
        if isinstance(error, openai.APIConnectionError):
            return f"no connection ({root_of(error)})"
        message = " ".join(str(getattr(error, "message", "") or error).split())
        return message.replace(self._key, "***")[:300] if self._key else message[:300]


def root_of(error: BaseException) -> str:
    """The words of the first cause that has any."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
