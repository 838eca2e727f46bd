"""What changes on the page while pictures are judged, and whom it answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.page.app import LOOPBACK, guarded, judged, page
from qinsight_cli.core.page.asking import Asker
from talking_engine import TalkingEngine


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Rated 3.20 and 1.31 by PixelEngine, and a file that is no picture."""
    for name, grey in (("light.png", 140), ("dark.png", 20)):
        Image.new("RGB", (24, 16), (grey, grey, grey)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"none")
    return [str(tmp_path / name) for name in ("light.png", "dark.png", "broken.png")]


@pytest.fixture
def asker() -> Asker:
    engine = PixelEngine()
    return Asker(lambda task: (engine, Decoding(rating="expected")))


def shown(asker: Asker, paths: list[str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for update in judged(asker, paths):
        parts |= update
    return parts


def test_one_picture_gets_a_rating_and_its_damage(asker: Asker, pictures: list[str]) -> None:
    parts = shown(asker, pictures[:1])
    assert parts.keys() == {"picture 0", "answer 0", "status"}
    assert "data:image/webp;base64," in parts["picture 0"]
    assert "<b>3.20</b>" in parts["answer 0"]
    assert 'data-task="degradation"' in parts["answer 0"]
    assert "done" in parts["status"]


def test_two_pictures_are_compared(asker: Asker, pictures: list[str]) -> None:
    parts = shown(asker, pictures[:2])
    assert "Image A: light.png" in parts["picture 0"]
    assert "<b>1.31</b>" in parts["answer 1"]
    assert "serious darken" in parts["answer 1"]
    assert "Image A is better" in parts["pair"]


def test_what_is_written_is_shown_before_the_answer(pictures: list[str]) -> None:
    engine = TalkingEngine(seconds=0.08)
    asker = Asker(lambda task: (engine, Decoding(rating="expected")))
    lengths = [
        len(update["answer 0"])
        for update in judged(asker, pictures[:1])
        if 'aria-busy="true"' in update.get("answer 0", "") and "degradation" not in update["answer 0"]
    ]
    assert len(set(lengths)) >= 3
    assert lengths == sorted(lengths)


def test_a_broken_picture_is_one_line_and_not_compared(asker: Asker, pictures: list[str]) -> None:
    parts = shown(asker, pictures[1:])
    assert parts["answer 1"].count("not an image of a known kind") == 1
    assert "cannot be shown" in parts["picture 1"]
    assert "pair" not in parts
    assert "<b>1.31</b>" in parts["answer 0"]


def test_three_pictures_are_one_line(asker: Asker, pictures: list[str]) -> None:
    assert shown(asker, pictures) == {
        "status": '<p class="qi-status" role="status">3 pictures: remove some, at most two can be compared</p>'
    }
    assert shown(asker, []).keys() == {"status"}


def test_a_model_that_fails_is_one_line(pictures: list[str]) -> None:
    def refuse(task: Any) -> Any:
        raise QInsightError("cannot <load> it")

    parts = shown(Asker(refuse), pictures[:1])
    assert "cannot &lt;load&gt; it" in parts["status"]


def request(app: Any, host: bytes, *more: tuple[bytes, bytes]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(app({"type": "http", "headers": [(b"host", host), *more], "path": "/"}, receive, send))
    return sent


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


@pytest.mark.parametrize("host", [b"localhost:7860", b"127.0.0.1", b"[::1]:7860", b"LOCALHOST"])
def test_the_own_names_of_this_machine_are_answered(host: bytes) -> None:
    start, body = request(guarded(plain, LOOPBACK), host)
    assert (start["status"], body["body"]) == (200, b"page")
    assert dict(start["headers"])[b"content-security-policy"].startswith(b"default-src 'self'")


@pytest.mark.parametrize("host", [b"evil.example:7860", b"localhost.evil.example", b"", b"["])
def test_another_name_for_this_machine_is_not(host: bytes) -> None:
    start, body = request(guarded(plain, LOOPBACK), host)
    assert start["status"] == 403
    assert b"page" not in body["body"].replace(b"this page", b"")
    assert request(guarded(plain, None), host)[0]["status"] == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [(b"http://localhost:7860", 200), (b"http://evil.example", 403), (b"http://localhost:9999", 403), (b"null", 403)],
)
def test_the_page_of_another_site_is_refused(origin: bytes, status: int) -> None:
    for hosts in (LOOPBACK, None):
        start, _ = request(guarded(plain, hosts), b"localhost:7860", (b"origin", origin))
        assert start["status"] == status


def test_without_gradio_the_line_says_what_to_install(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qinsight_cli.core.extras.is_installed", lambda name: False)
    with pytest.raises(QInsightError, match=r"needs gradio, which is not installed: pip install 'qinsight\[serve\]'"):
        page(asker, "", "localhost", "")
