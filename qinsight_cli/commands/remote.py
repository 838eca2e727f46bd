"""Options of served models: their endpoints, and how requests are sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from qinsight_cli.core.engines import Served
from qinsight_cli.core.errors import UsageError

if TYPE_CHECKING:
    from qinsight_cli.commands.options import Compute

PANEL = "Served models"
_option = partial(typer.Option, rich_help_panel=PANEL)
MOST = 1000  # requests in flight: the most connections that the client opens


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Servers that run the model instead of this machine."""

    endpoint: Annotated[
        list[str] | None,
        _option("--endpoint", metavar="URL", help="An OpenAI-compatible server of --model; repeatable, for replicas."),
    ] = None
    concurrency: Annotated[
        int, _option("--concurrency", min=1, max=MOST, metavar="N", help="Requests in flight, over all endpoints.")
    ] = 32
    api_key_env: Annotated[
        str | None, _option("--api-key-env", metavar="NAME", help="The environment variable that holds the API key.")
    ] = None
    timeout: Annotated[float, _option("--timeout", min=0.1, metavar="SECONDS", help="Time limit of one request.")] = (
        300.0
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a wrong URL, and for the other options without --endpoint."""
        for url in self.endpoint or ():
            _check_url(url)
        if self.api_key_env is not None and not (self.api_key_env.isascii() and self.api_key_env.isidentifier()):
            raise UsageError("--api-key-env takes the name of an environment variable that holds the key, not the key")
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
        """The servers, for the engine. A URL without a path gets /v1."""
        if not self.endpoint:
            return None
        urls = dict.fromkeys(_with_path(url) for url in self.endpoint)
        return Served(tuple(urls), self.concurrency, self.api_key_env, self.timeout)

    def batch_size(self, compute: Compute) -> int | None:
        """Questions in a batch; None: the engine decides. With servers as many as requests in flight, so that a whole
        batch is in flight."""
        return self.concurrency if self.endpoint else compute.batch_size

    def check(self, compute: Compute, direct: bool) -> None:
        """Raises UsageError for options that have no effect on a server."""
        if not self.endpoint:
            return
        plain = type(compute)()
        for name in ("device", "dtype", "batch_size", "quantize", "attention", "offload"):
            if getattr(compute, name) != getattr(plain, name):
                option = f"--{name.replace('_', '-')}"
                more = "; --concurrency sets the requests in flight" if name == "batch_size" else ""
                raise UsageError(f"{option} is for a model on this machine, not for --endpoint: leave it out{more}")
        if direct:
            raise UsageError("--mode direct reads probabilities that no endpoint gives: leave it out with --endpoint")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"--endpoint {url}: give a URL such as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise UsageError("--endpoint: no key or password in the URL; name its environment variable with --api-key-env")
    if parts.query or parts.fragment:
        raise UsageError("--endpoint: no ? or # in the URL; name the environment variable of a key with --api-key-env")
    if parts.path.rstrip("/").endswith(("/completions", "/models", "/responses")):
        raise UsageError(f"--endpoint {url}: give the URL up to /v1")


def _with_path(url: str) -> str:
    base = url.rstrip("/")
    return base if urlsplit(base).path else f"{base}/v1"
