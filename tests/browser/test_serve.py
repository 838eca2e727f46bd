"""The page of `qinsight serve` in a browser: streaming, two pictures, mistakes, phone, dark mode, no other network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser_pages import CONTRAST, watched_pages
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.page.app import page as make_page
from qinsight_cli.core.page.asking import Asker
from talking_engine import TalkingEngine

gradio = pytest.importorskip("gradio", reason="pip install 'qinsight[serve]'")
HOSTILE = "<img src=x onerror=alert(1)> ${1+1} {{1+1}}"


class Server:
    """The page on a free port of this machine, in a thread."""

    def __init__(self, engine: TalkingEngine, folder: Path) -> None:
        import uvicorn

        self.engine = engine
        self.asker = Asker(lambda task: (engine, Decoding(rating="expected")))
        app = make_page(self.asker, "model: a stand-in", "127.0.0.1", str(folder))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, args=([self._listening],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.asker.close()
        self._server.should_exit = True
        self._thread.join(30)
        self._listening.close()


@pytest.fixture
def engine() -> TalkingEngine:
    return TalkingEngine(seconds=0.05)


@pytest.fixture
def server(engine: TalkingEngine, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "uploads").mkdir()
    running = Server(engine, tmp_path / "uploads")
    yield running
    running.stop()


@pytest.fixture
def open_served(browser: Any, server: Server) -> Iterator[Any]:
    """Opens the page: `open_served(dark=..., width=...)`. Errors of a script and requests elsewhere fail the test."""
    with watched_pages(browser, (server.address, "data:", "blob:"), 60_000) as (new_page, problems):

        def opened(**settings: Any) -> Any:
            page = new_page(**settings)
            page.goto(server.address)
            page.wait_for_selector("input[type=file]", state="attached")
            return page

        yield opened
    assert not problems


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Rated 3.20 and 1.31, and a file that is no picture."""
    for name, grey in (("light.png", 140), ("dark.png", 20)):
        Image.new("RGB", (480, 320), (grey, grey, grey)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"none")
    return [tmp_path / name for name in ("light.png", "dark.png", "broken.png")]


def drop(page: Any, paths: list[Path]) -> None:
    page.set_input_files("input[type=file]", [str(path) for path in paths])


def wait_for(page: Any, words: str) -> None:
    page.locator(f".qi-status:text-is('{words}')").wait_for(state="attached")


def test_a_picture_is_rated_while_one_looks_on(open_served: Any, pictures: list[Path], engine: TalkingEngine) -> None:
    page = open_served()
    engine.endless.set()
    drop(page, pictures[:1])
    wait_for(page, "Rating of light.png …")
    rating = page.locator(".qi-answer[data-task=score]")
    page.locator(".qi-reasoning", has_text="It is seen.").first.wait_for(state="attached")
    assert rating.get_attribute("aria-busy") == "true"
    assert "of 5" not in rating.inner_text()
    engine.endless.clear()
    wait_for(page, "done")
    assert rating.get_attribute("aria-busy") == "false"
    assert "3.20 of 5" in rating.inner_text()
    assert "Brightness" in rating.locator(".qi-reasoning").inner_text()
    chart = page.get_by_role("img", name="Distribution of the rating: fair 100 %")
    assert chart.locator("i").count() == 41
    # The mean stands over its tenth: 3.2 is the 23rd of 41 bars.
    bar, mean = (chart.locator(each).bounding_box() for each in ("i:nth-child(23)", ".qi-mean"))
    assert abs(bar["x"] + bar["width"] / 2 - mean["x"] - mean["width"] / 2) < 2
    assert page.locator(".qi-answer[data-task=degradation]").inner_text().splitlines()[-1].startswith("Brightness")
    assert page.evaluate("document.querySelector('.qi-picture img').naturalWidth") == 480
    assert page.locator(".qi-answer").count() == 2


def test_two_pictures_are_compared_and_one_taken_away(open_served: Any, pictures: list[Path]) -> None:
    page = open_served()
    drop(page, pictures[:2])
    wait_for(page, "done")
    assert "Image A is better" in page.locator(".qi-answer[data-task=comparison]").inner_text()
    assert [each.inner_text() for each in page.locator("figcaption").all()] == [
        "Image A: light.png",
        "Image B: dark.png",
    ]
    assert "serious darken" in page.locator(".qi-answer[data-task=degradation]").nth(1).inner_text()
    page.get_by_role("button", name="Clear").click()
    page.locator(".qi-answer").first.wait_for(state="detached")


def test_a_broken_picture_and_a_third_one_are_lines_on_the_page(open_served: Any, pictures: list[Path]) -> None:
    page = open_served()
    drop(page, pictures[1:])
    wait_for(page, "done")
    assert page.locator(".qi-error").count() == 1
    assert "not an image of a known kind" in page.locator(".qi-error").inner_text()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("input[type=file]", state="attached")
    drop(page, pictures)
    wait_for(page, "3 pictures: remove some, at most two can be compared")


def test_words_and_names_are_no_markup(
    open_served: Any, pictures: list[Path], engine: TalkingEngine, tmp_path: Path
) -> None:
    engine.text = f'<think> {HOSTILE} </think><answer> {{"rating": 3.20}} </answer>'
    hostile = tmp_path / "<b>${1+1}.png"
    hostile.write_bytes(pictures[0].read_bytes())
    page = open_served()
    drop(page, [hostile])
    wait_for(page, "done")
    assert HOSTILE in page.locator(".qi-answer[data-task=score] .qi-reasoning").inner_text()
    assert page.locator("img[src=x]").count() == 0


def labels_are_apart(page: Any) -> bool:
    """Whether no label below a chart lies over the next one."""
    for axis in page.locator(".qi-axis").all():
        boxes = [label.bounding_box() for label in axis.locator("span").all()]
        if any(left["x"] + left["width"] > right["x"] for left, right in pairwise(boxes)):
            return False
    return True


def test_labels_below_a_chart_are_apart_at_every_width(open_served: Any, pictures: list[Path]) -> None:
    page = open_served()
    drop(page, pictures[:2])
    wait_for(page, "done")
    assert page.locator(".qi-axis").count() == 2
    for width in range(340, 1500, 80):
        page.set_viewport_size({"width": width, "height": 800})
        assert labels_are_apart(page), width


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_overflows_and_words_can_be_read(open_served: Any, pictures: list[Path], dark: bool) -> None:
    page = open_served(dark=dark, width=360, height=740, has_touch=True)
    drop(page, pictures[:2])
    wait_for(page, "done")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert labels_are_apart(page)
    assert page.evaluate(CONTRAST, list(WORDS)) >= 4.5
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.removeprefix("rgb(").rstrip(")").split(",")[:3])) < 200) == dark


WORDS = (
    "h1",
    ".qi-status",
    ".qi-answer h2",
    ".qi-said b",
    ".qi-soft",
    ".qi-verdict",
    ".qi-reasoning",
    ".qi-axis span",
    "figcaption",
)
