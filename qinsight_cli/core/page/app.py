"""The page: one place to drop pictures, with their answers below, made with Gradio.

Neither the server nor the page sends requests to other machines, and no other site may send requests to this one. Only
a client that gives a URL instead of an uploaded picture can make Gradio fetch it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import require
from qinsight_cli.core.images import MAX_BYTES
from qinsight_cli.core.page.asking import Answered, Asker
from qinsight_cli.core.page.html import answer_html, picture_html, title_of
from qinsight_cli.core.report.gallery.cards import ROLE_NAMES
from qinsight_cli.core.report.gallery.thumbnails import MOST_BYTES, thumbnail
from qinsight_cli.core.report.tables import printable
from qinsight_cli.core.tasks import TASKS

MOST = 2  # pictures on the page
ROLES = tuple(ROLE_NAMES.values())[:MOST]
LOOPBACK = ("localhost", "127.0.0.1", "::1")
Update = Mapping[str, str]  # part of the page -> its HTML
PARTS = ("status", "pair", *(f"{what} {place}" for place in range(MOST) for what in ("picture", "answer")))
_HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def judged(asker: Asker, paths: Sequence[str]) -> Iterator[Update]:
    """The changes of the page while one or two pictures are judged. An error becomes a line on the page."""
    if len(paths) > MOST:
        yield {"status": status(f"{len(paths)} pictures: remove some, at most two can be compared")}
        return
    for place, path in enumerate(paths):
        label = f"{ROLES[place]}: " if len(paths) > 1 else ""
        address = thumbnail(path, MOST_BYTES, asker.max_image_pixels)
        yield {f"picture {place}": picture_html(label + os.path.basename(path), address)}
    questions = [
        (f"answer {place}", task, {task.roles[0]: path})
        for place, path in enumerate(paths)
        for task in TASKS.values()
        if len(task.roles) == 1
    ]
    if len(paths) == MOST:
        pair = [task for task in TASKS.values() if len(task.roles) == MOST]
        questions += [("pair", task, dict(zip(task.roles, paths, strict=True))) for task in pair]
    done: dict[str, str] = {}
    broken: set[str] = set()
    for part, task, item in questions:
        if broken & set(item.values()):
            continue
        yield {"status": status(f"{title_of(task)} of {_names(item)} …")}
        try:
            for found in asker.ask(task, item):
                html = done.get(part, "") + answer_html(task, found)
                yield {part: html}
        except QInsightError as error:
            yield {"status": status(str(error))}
            return
        done[part] = html
        if isinstance(found, Answered) and found.broken:
            broken.update(item.values())
    yield {"status": status("" if not paths else "done")}


def status(words: str) -> str:
    return f'<p class="qi-status" role="status">{escape(printable(words))}</p>'


def _names(item: Mapping[str, str]) -> str:
    return " and ".join(os.path.basename(path) for path in item.values())


def page(asker: Asker, about: str, host: str, folder: str) -> Any:
    """The page as an ASGI application.

    about   a line below its title
    host    the address that it listens on
    folder  for uploaded pictures
    Raises QInsightError without Gradio.
    """
    require("serve", "qinsight serve")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = folder
    import gradio
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        app,
        _page_parts(asker, about),
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        # The fonts of Gradio's own theme come from another server.
        theme=gradio.themes.Default(font=["system-ui, sans-serif"], font_mono=["ui-monospace, monospace"]),
        css=(files(__package__) / "page.css").read_text(encoding="utf-8"),
    )
    return guarded(app, LOOPBACK if host in LOOPBACK else None)


def _page_parts(asker: Asker, about: str) -> Any:
    """The parts of the page, and what happens when pictures are dropped."""
    import gradio

    with _blocks_class(gradio)(title="qinsight", analytics_enabled=False) as blocks:
        gradio.HTML(_head(about))
        dropped = gradio.File(label="Drop a picture, or two to compare", file_count="multiple", height=150)
        shown = {"status": gradio.HTML(status("")), "pair": gradio.HTML()}
        with gradio.Row():
            for place in range(MOST):
                with gradio.Column(min_width=300, elem_classes="qi-side"):
                    shown |= {f"{what} {place}": gradio.HTML() for what in ("picture", "answer")}

        def judge(paths: list[str] | None) -> Iterator[dict[Any, str]]:
            yield {each: status("") if name == "status" else "" for name, each in shown.items()}
            for update in judged(asker, [str(path) for path in paths or ()]):
                yield {shown[part]: html for part, html in update.items()}

        dropped.change(
            judge,
            inputs=dropped,
            outputs=list(shown.values()),
            trigger_mode="always_last",
            show_progress="hidden",
            concurrency_limit=None,  # the asker answers one question at a time
            api_visibility="private",
        )
    # Only for pages that it launched itself does Gradio check that a picture is an upload, not a file of this machine.
    blocks.has_launched = True
    return blocks


def _blocks_class(gradio: Any) -> Any:
    """Gradio's `Blocks`. A client that names a file without uploading it gets a one-line error, and stderr gets
    none."""
    from gradio.exceptions import InvalidPathError

    class Blocks(gradio.Blocks):
        async def preprocess_data(self, *given: Any, **more: Any) -> Any:
            try:
                return await super().preprocess_data(*given, **more)
            except InvalidPathError as error:
                raise gradio.Error(str(error), print_exception=False) from None

    return Blocks


def _head(about: str) -> str:
    return f'<header class="qi-head"><h1>qinsight</h1><p>{escape(printable(about))}</p></header>'


def guarded(app: Any, hosts: Sequence[str] | None) -> Any:
    """The application with security headers. It refuses requests from pages of other sites.

    With `hosts` it also refuses requests to other host names. This stops DNS rebinding: a site whose name now resolves
    to this machine still sends its own host name.
    """
    headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        refused = b""
        if scope["type"] == "http" and hosts is not None and _host(scope) not in hosts:
            refused = b"this page is only served under the name localhost\n"
        elif scope["type"] == "http" and _from_elsewhere(scope):
            refused = b"this page accepts no requests from other sites\n"
        if refused:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": refused})
            return
        await app(scope, receive, send_on)

    return answer


def _from_elsewhere(scope: Any) -> bool:
    """Whether a request comes from a page of another site, which browsers name in `Origin`."""
    given = dict(scope["headers"])
    origin = given.get(b"origin", b"")
    return bool(origin) and origin.partition(b"://")[2] != given.get(b"host", b"")


def _host(scope: Any) -> str:
    named = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    try:
        return urlsplit(f"//{named}").hostname or ""
    except ValueError:
        return ""
