"""Options of models that are served elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from qinsight_cli.core.engines import Decoding, Engine, Served
from qinsight_cli.core.errors import UsageError

if TYPE_CHECKING:
    from qinsight_cli.commands.options import Compute

PANEL = "Served models"
_option = partial(typer.Option, rich_help_panel=PANEL)
MOST = 1000  # requests at a time: the connections that the client opens


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Servers that answer in the place of this machine."""

    endpoint: Annotated[
        list[str] | None,
        _option(
            "--endpoint", metavar="URL", help="An OpenAI-compatible server that has --model; repeatable, for replicas."
        ),
    ] = None
    concurrency: Annotated[
        int, _option("--concurrency", min=1, max=MOST, metavar="N", help="Requests at a time, over all endpoints.")
    ] = 32
    api_key_env: Annotated[
        str | None, _option("--api-key-env", metavar="NAME", help="The environment variable with the key.")
    ] = None
    timeout: Annotated[
        float, _option("--timeout", min=0.1, metavar="SECONDS", help="The most time for one request.")
    ] = 300.0

    def __post_init__(self) -> None:
        """Raises UsageError for what is no address, and for the other options without one."""
        for url in self.endpoint or ():
            _check_url(url)
        if not self.endpoint:
            for option, given in (
                ("--concurrency", self.concurrency != 32),
                ("--api-key-env", self.api_key_env is not None),
                ("--timeout", self.timeout != 300.0),
            ):
                if given:
                    raise UsageError(f"{option} is for a served model: give --endpoint URL too")

    @property
    def served(self) -> Served | None:
        """For the engine; an address without a path gets the usual one, /v1."""
        if not self.endpoint:
            return None
        urls = dict.fromkeys(_with_path(url) for url in self.endpoint)
        return Served(tuple(urls), self.concurrency, self.api_key_env, self.timeout)

    def batch_size(self, compute: Compute) -> int | None:
        """Images at a time, None for as many as the engine says. With servers as many as requests, so that each batch
        can be wholly under way."""
        return self.concurrency if self.endpoint else compute.batch_size

    def check(self, compute: Compute, direct: bool) -> None:
        """Raises UsageError for options that mean nothing to a server."""
        if not self.endpoint:
            return
        plain = type(compute)()
        for name in ("device", "dtype", "batch_size", "quantize", "attention", "offload"):
            if getattr(compute, name) != getattr(plain, name):
                option = f"--{name.replace('_', '-')}"
                more = "; --concurrency says how many requests are under way" if name == "batch_size" else ""
                raise UsageError(f"{option} is for a model on this machine, not for --endpoint: leave it out{more}")
        if direct:
            raise UsageError("--mode direct reads probabilities that no endpoint gives: leave it out with --endpoint")

    def readable(self, decoding: Decoding, engine: Engine, say: Callable[[str], None]) -> Decoding:
        """The decoding with ratings as written where the servers give no probabilities."""
        if not self.endpoint or engine.reads_choices or decoding.rating == "answer":
            return decoding
        say("the endpoint gives no probabilities (logprobs): ratings are the numbers that the model writes")
        from dataclasses import replace

        return replace(decoding, rating="answer")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"--endpoint {url}: give an address such as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise UsageError("--endpoint: no key or password in the address; name its variable with --api-key-env")


def _with_path(url: str) -> str:
    base = url.rstrip("/")
    return base if urlsplit(base).path else f"{base}/v1"
