"""qinsight serve: a page in the browser on which to drop pictures and see them judged."""

from __future__ import annotations

import logging
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from qinsight_cli.commands.answers import Mode, ScoreAnswers
from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.judging import load_engine
from qinsight_cli.commands.options import Compute, MaxImagePixels, ModelName
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import MAX_PIXELS

if TYPE_CHECKING:
    from qinsight_cli.core.engines import Decoding, Engine
    from qinsight_cli.core.tasks import Task

GRACE = 2  # seconds that an open page may delay the end
LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ServedPage:
    """The address of the page, and the model that answers on it."""

    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on; 0.0.0.0 admits other machines.")
    ] = LOCALHOST
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="The port; 0 takes a free one.")
    ] = 7860
    model: ModelName = "tiny"
    serving: Serving
    compute: Compute
    max_image_pixels: MaxImagePixels = MAX_PIXELS
    answers: ScoreAnswers

    def __post_init__(self) -> None:
        self.serving.check(self.compute, self.answers.mode is Mode.direct)


@flat
def serve(run: ServedPage) -> None:
    """Show a page in the browser on which to drop pictures and see them rated and compared.

    Without --host only this machine can open it, and no picture leaves the machine. Ctrl-C ends it.
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
    asker = Asker(engines.load, run.answers.seed, run.max_image_pixels, say, run.answers.prompt_style.value)
    where = "" if not run.serving.endpoint else f", served at {', '.join(run.serving.endpoint)}"
    with tempfile.TemporaryDirectory(prefix="qinsight-page-") as folder:
        app = page(asker, f"model: {run.model}{where}", run.host, folder)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
        if run.host not in LOOPBACK:
            say(f"everybody who can reach {run.host} can use the page: it has no password")
        say(f"the page is at {_address(listening, run.host)}; Ctrl-C ends it")
        _clean_up_on_signals()
        server = uvicorn.Server(config)
        # Do not log the requests of open pages that the end of the server cuts off.
        logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
        try:
            server.run(sockets=[listening])
        finally:
            asker.close()


def _clean_up_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the page as Ctrl-C does, so that uploaded pictures are removed."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            signal.signal(getattr(signal, name), end)


class Engines:
    """The engines of a page: one for all tasks, or one for each folder of weights of a release."""

    def __init__(self, run: ServedPage) -> None:
        self._run = run
        self._options = run.compute.options(run.serving)
        self._loaded: dict[str, Engine] = {}

    def load(self, task: Task) -> tuple[Engine, Decoding]:
        """The engine for a task, loaded when it is first needed, and its decoding."""
        name = self._options.name_for(self._run.model, task)
        if name not in self._loaded:
            self._loaded[name] = load_engine(self._run, task)
        engine = self._loaded[name]
        decoding = self._options.supported(self._run.answers.decoding, engine.reads_choices, lambda words: None)
        return engine, decoding


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address. Raises QInsightError if it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: not the name of a machine
        way = "; choose another port with --port N" if host == LOCALHOST else "; choose another --host or --port"
        why = getattr(error, "strerror", None) or error
        raise QInsightError(f"cannot listen on {host} port {port}: {why}{way}") from None


def _address(listening: socket.socket, host: str) -> str:
    named = f"[{host}]" if ":" in host else "localhost" if host == LOCALHOST else host
    return f"http://{named}:{listening.getsockname()[1]}"
