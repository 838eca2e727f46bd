"""Checks of servers before the first question: do they answer, accept the key, have the model and read pictures.

Imports openai: import this module only when a server is in use.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncOpenAI

from qinsight_cli.core.engines import Served
from qinsight_cli.core.engines.replicas import Replicas, root_of
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import text

PATIENCE = 60.0  # seconds for the check of one server: it may have to load a large model
SIDE = 64  # pixels, of the test picture
CHECK = "check the URL, and that the server is up"


class Silent(Exception):
    """A server does not answer. Others may."""


def key_of(variable: str | None) -> str | None:
    """The key in an environment variable. Raises QInsightError if the variable is not set or empty."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise QInsightError(f"--api-key-env {variable}: this environment variable is not set, or it is empty")
    if not (key.isascii() and key.isprintable()):
        raise QInsightError(f"--api-key-env {variable}: its value is no key: a line break, or letters beyond ASCII")
    return key


async def check(served: Served, model: str, key: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Facts for the engine: "logprobs"; "silent", the URLs of silent servers; and "root", the origin of the weights, if
    the servers report it.

    If some of several servers are silent, `say` gets a line for each. Raises QInsightError if all are silent, or if one
    answers but cannot be used.
    """
    timeout = min(PATIENCE, served.timeout)
    replicas = Replicas(served.urls, key, timeout, retries=1)
    checks = [_check_one(each.url, each.client, model, served.key_variable, replicas) for each in replicas.all]
    found = await asyncio.gather(*checks, return_exceptions=True)
    for each in replicas.all:
        await each.client.close()
    silent = [each for each in found if isinstance(each, Silent)]
    for outcome in found:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Silent):
            raise outcome
    if len(silent) == len(found):
        raise QInsightError(f"{silent[0]}; {CHECK}")
    for trouble in silent:
        say(f"{trouble}; it is tried again later")
    facts = [each for each in found if isinstance(each, dict)]
    roots = {each.get("root") for each in facts}
    if len(roots) > 1:
        raise QInsightError(f"the endpoints serve different models as {model}: {', '.join(map(str, roots))}")
    away = [each.url for each, outcome in zip(replicas.all, found, strict=True) if isinstance(outcome, Silent)]
    return {**facts[0], "logprobs": all(each["logprobs"] for each in facts), "silent": away}


async def _check_one(
    url: str, client: AsyncOpenAI, model: str, variable: str | None, replicas: Replicas
) -> dict[str, Any]:
    facts = await _find_model(url, client, model, variable)
    picture, words = _picture(), "Answer in one word: what colour is this?"
    try:
        return {**facts, "logprobs": await _try(client, model, [picture, text(words)], logprobs=True)}
    except openai.AuthenticationError:
        raise QInsightError(_key_refused(url, variable)) from None
    except openai.NotFoundError as error:
        said = error.body.get("message") if isinstance(error.body, dict) else None
        raise QInsightError(
            f"{url} has no model {model} ({replicas.words(error)}): choose with --model" if said else _no_api(url)
        ) from None
    except (openai.APIConnectionError, ValueError) as error:
        raise Silent(f"{url} does not answer a short question: {replicas.words(error)}") from None
    except openai.APIStatusError as error:
        overloaded = isinstance(error, openai.InternalServerError | openai.RateLimitError)
        if not overloaded and await _works(client, model, [picture, text(words)]):  # it refused only the probabilities
            return {**facts, "logprobs": False}
        why = replicas.words(error)
        if await _works(client, model, [text(words)]):
            raise QInsightError(f"{url}: {model} refuses pictures: {why}; serve a vision-language model") from None
        raise QInsightError(f"{url} answers a short question with an error: {why}") from None


async def _find_model(url: str, client: AsyncOpenAI, model: str, variable: str | None) -> dict[str, Any]:
    """What the server's list of models reports about this one; {} if the server has no list."""
    try:
        listed = await client.models.list()
        names = {str(each.id): each for each in listed.data}
    except (openai.AuthenticationError, openai.PermissionDeniedError):
        raise QInsightError(_key_refused(url, variable)) from None
    except openai.APITimeoutError:
        raise Silent(f"nothing answers at {url} in time") from None
    except openai.APIConnectionError as error:
        raise Silent(f"nothing answers at {url} ({root_of(error)})") from None
    except openai.APIStatusError as error:
        if error.status_code in (404, 405, 501) and "json" in error.response.headers.get("content-type", ""):
            return {}  # a gateway for chat alone; the test question decides
        if error.status_code >= 500 or error.status_code == 429:
            more = " (too many requests)" if error.status_code == 429 else ""
            raise Silent(f"{url} answers with error {error.status_code}{more}") from None
        raise QInsightError(_no_api(url)) from None
    except (AttributeError, TypeError, ValueError, openai.OpenAIError):
        raise QInsightError(_no_api(url)) from None
    if names and model not in names:
        shown = ", ".join(sorted(names)[:5])
        raise QInsightError(f"{url} has no model {model}; it has {shown}: choose with --model")
    root = getattr(names.get(model), "root", None)
    return {"root": root} if isinstance(root, str) else {}


def _no_api(url: str) -> str:
    return f"{url} answers, but not as an OpenAI-compatible API: give the URL up to /v1"


def _key_refused(url: str, variable: str | None) -> str:
    if variable is None:
        return f"{url} needs a key: put it into an environment variable and name the variable with --api-key-env"
    return f"{url} refuses the key in {variable}"


async def _try(client: AsyncOpenAI, model: str, content: Any, logprobs: bool) -> bool:
    """Ask for one token; whether its probability came with it. Raises ValueError if it gets no chat completion."""
    more: dict[str, Any] = {"logprobs": True, "top_logprobs": 5} if logprobs else {}
    answer = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], max_tokens=1, temperature=0.0, **more
    )
    try:
        entries = getattr(answer.choices[0].logprobs, "content", None) or ()
        return any(entry.top_logprobs for entry in entries)
    except (AttributeError, TypeError, IndexError):
        raise ValueError("its response is no chat completion") from None


async def _works(client: AsyncOpenAI, model: str, content: Any) -> bool:
    """Whether the server answers this question without probabilities."""
    try:
        await _try(client, model, content, logprobs=False)
    except (openai.OpenAIError, ValueError):
        return False
    return True


def _picture() -> dict[str, Any]:
    from PIL import Image

    from qinsight_cli.core.engines.chat import picture_part
    from qinsight_cli.core.images.sending import as_png

    return picture_part(as_png(Image.new("RGB", (SIDE, SIDE), (90, 120, 160))))
