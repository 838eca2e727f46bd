"""qinsight serve: a page on which pictures are dropped and judged."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from qinsight_cli.commands import judging
from qinsight_cli.commands.answers import Mode, ScoreAnswers
from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Compute, MaxImagePixels, ModelName
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import MAX_PIXELS

if TYPE_CHECKING:
    from qinsight_cli.core.engines import Decoding, Engine
    from qinsight_cli.core.tasks import Task

SECONDS = 2  # that an open page may hold up the end
HERE = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Where the page is, and who answers on it."""

    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = HERE
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="The port; 0 takes one that is free.")
    ] = 7860
    model: ModelName = "tiny"
    serving: Serving
    compute: Compute
    max_image_pixels: MaxImagePixels = MAX_PIXELS
    answers: ScoreAnswers

    def __post_init__(self) -> None:
        self.serving.check(self.compute, self.answers.mode is Mode.direct)


@flat
def serve(run: Page) -> None:
    """Show a page in the browser on which pictures are dropped, rated and compared.

    It listens on this machine alone unless --host says otherwise, and nothing leaves it. Ctrl-C ends it.
    """
    from qinsight_cli.core.extras import require

    require("serve", "qinsight serve")
    import uvicorn

    from qinsight_cli.core.page.app import LOOPBACK, page
    from qinsight_cli.core.page.asking import Asker
    from qinsight_cli.core.tasks import TASKS

    listening = _listen(run.host, run.port)
    engines = Engines(run)
    engines.load(next(iter(TASKS.values())))
    asker = Asker(engines.load, run.answers.seed, run.max_image_pixels, say)
    where = "" if not run.serving.endpoint else f", served at {', '.join(run.serving.endpoint)}"
    with tempfile.TemporaryDirectory(prefix="qinsight-page-") as folder:

        def style(task: Task) -> Task:
            return task.styled(run.answers.prompt_style.value)

        app = page(asker, f"model: {run.model}{where}", run.host, folder, style)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SECONDS)
        if run.host not in LOOPBACK:
            say(f"anybody who reaches {run.host} can use the page; it asks for no password")
        say(f"the page is at {_address(listening, run.host)}; Ctrl-C ends it")
        _end_in_order()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            asker.close()


def _end_in_order() -> None:
    """Let SIGTERM and SIGHUP end the page as Ctrl-C does, so that uploaded pictures are removed."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            signal.signal(getattr(signal, name), end)


class Engines:
    """The engines of a page: one for all tasks, or one for each where a model has several weights."""

    def __init__(self, run: Page) -> None:
        self._run = run
        self._loaded: dict[str, Engine] = {}

    def load(self, task: Task) -> tuple[Engine, Decoding]:
        """The engine for a task, loaded when it is first asked for, and how it is asked."""
        run = self._run
        name = judging.model_of(run, task)
        if name not in self._loaded:
            self._loaded[name] = judging.load_engine(run, task)
        engine = self._loaded[name]
        return engine, run.serving.readable(run.answers.decoding, engine, lambda words: None)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises QInsightError when it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a machine
        way = "; --port N takes another port" if host == HERE else ""
        raise QInsightError(
            f"{host} port {port} cannot be listened on: {getattr(error, 'strerror', None) or error}{way}"
        ) from None


def _address(listening: socket.socket, host: str) -> str:
    named = f"[{host}]" if ":" in host else "localhost" if host == HERE else host
    return f"http://{named}:{listening.getsockname()[1]}"
