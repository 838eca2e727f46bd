"""The gallery in a browser: sorting, filters, search, the large picture, the slider, keyboard, phone and dark mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser_pages import CONTRAST
from qinsight_cli.core.report.gallery.cards import Card, Picture
from qinsight_cli.core.report.gallery.page import About
from qinsight_cli.core.report.gallery.write import write_gallery

HOSTILE = "<img src=x onerror=alert(1)>.png"
REASONING = "Balanced light. " * 30 + "There is serious blur."


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Five pictures of one colour each, one that is not there, one with an error; the name of one is markup."""
    colours = {"red.png": (200, 20, 20), "café.png": (20, 200, 20), "blue.png": (20, 20, 200), HOSTILE: (9, 9, 9)}
    for name, colour in colours.items():
        Image.new("RGB", (640, 480), colour).save(tmp_path / name)

    def card(name: str, rating: float, distortion: str, severity: str, reasoning: str) -> Card:
        words = {"distortion": distortion, "severity": severity}
        verdict = f"{severity} {distortion}, told"
        return Card((Picture("", str(tmp_path / name)),), rating, 0.4, words, "", verdict, reasoning, badness=-rating)

    cards = [
        card("red.png", 3.0, "blur", "slight", "Soft."),
        card("café.png", 1.25, "blur", "serious", REASONING),
        card("blue.png", 4.5, "noise", "slight", "Grain <b>here</b>."),
        card(HOSTILE, 2.0, "noise", "serious", "</script><script>alert(2)</script>"),
        Card((Picture("", str(tmp_path / "gone.png")),), error="no such file"),
    ]
    write_gallery(str(tmp_path / "report.html"), About("Five pictures", "a line", [("1.0 – 1.5", 1)]), cards)
    return tmp_path / "report.html"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("r.png", "lime")):
        Image.new("RGB", (600, 400), colour).save(tmp_path / name)
    pictures = [
        Picture(label, str(tmp_path / name))
        for label, name in (("Image A", "a.png"), ("Image B", "b.png"), ("Reference", "r.png"))
    ]
    card = Card(tuple(pictures), words={"winner": "Image B"}, said="Image B is better", verdict="Image A is red.")
    write_gallery(str(tmp_path / "pair.html"), About("A pair"), [card])
    return tmp_path / "pair.html"


def names(page: Any) -> list[str]:
    return [each.get_attribute("data-name") for each in page.locator(".card:visible").all()]


def test_sorted_filtered_and_searched(gallery: Path, open_page: Any) -> None:
    page = open_page(gallery)
    worst = ["café.png", HOSTILE, "red.png", "blue.png", "gone.png"]
    assert names(page) == worst
    page.get_by_role("combobox", name="Sort").select_option("best first")
    assert names(page) == [*worst[:4][::-1], "gone.png"]
    page.get_by_role("combobox", name="Distortion").select_option("noise")
    page.get_by_role("combobox", name="Severity").select_option("serious")
    assert names(page) == [HOSTILE]
    page.get_by_role("button", name="Reset").click()
    page.locator(".card:visible").nth(4).wait_for()
    page.get_by_role("combobox", name="Errors").select_option("only errors")
    assert names(page) == ["gone.png"]
    page.get_by_role("combobox", name="Errors").select_option("hidden")
    assert names(page) == worst[:4]
    page.get_by_role("searchbox").fill("CAFE light")
    assert names(page) == ["café.png"]
    assert page.get_by_role("status").text_content() == "1 of 5 pictures"
    page.get_by_role("searchbox").fill("not in any of them")
    assert names(page) == []
    page.get_by_role("button", name="Show all").click()
    page.locator(".card:visible").nth(4).wait_for()


def test_large_by_click_and_keyboard(gallery: Path, open_page: Any) -> None:
    page = open_page(gallery)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.get_by_role("button", name="Show large: café.png").focus()
    page.keyboard.press("Enter")
    large = page.get_by_role("dialog")
    assert "1.25" in large.text_content()
    assert "There is serious blur." in large.text_content()
    assert large.get_attribute("aria-labelledby") == "large-title"
    # The file itself takes the place of the thumbnail.
    page.locator("#stage img[src$='caf%C3%A9.png']").wait_for()
    assert page.evaluate("document.querySelector('#stage img').naturalWidth") == 640
    page.keyboard.press("ArrowRight")
    assert page.locator("#large-place").text_content() == "2 of 5"
    assert "<script>alert(2)</script>" in large.text_content()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "no such file" in large.text_content()
    page.keyboard.press("Escape")
    assert not large.is_visible()
    page.locator("[aria-label*='gone.png']:focus").wait_for()  # after the dialog's own end


def test_the_thumbnail_stays_where_the_file_is_not(gallery: Path, open_page: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = gallery.rename(tmp_path / "elsewhere" / "moved.html")
    page = open_page(moved)
    page.get_by_role("button", name="Show large: red.png").click()
    shown = page.locator("#stage img")
    page.wait_for_timeout(300)
    assert shown.get_attribute("src").startswith("data:image/webp")
    assert page.evaluate("document.querySelector('#stage img').naturalWidth") > 0


def at(page: Any, x: float, tmp_path: Path) -> tuple[int, ...]:
    """The colour in the middle of the height of the stage, at a share of its width."""
    page.locator("#stage").screenshot(path=tmp_path / "stage.png")
    shot = Image.open(tmp_path / "stage.png").convert("RGB")
    return shot.getpixel((int(x * shot.width), shot.height * 2 // 5))


def test_the_slider_moves_between_two_pictures(pair: Path, open_page: Any, tmp_path: Path) -> None:
    page = open_page(pair)
    assert page.get_by_text("Image B is better").is_visible()
    page.locator(".open").click()
    assert at(page, 0.25, tmp_path)[0] > 200 > 60 > at(page, 0.75, tmp_path)[0]
    edge = page.get_by_role("slider", name="Edge between Image A and Image B")
    edge.focus()
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert edge.input_value() == "10"
    assert at(page, 0.25, tmp_path)[2] > 200
    page.get_by_label("Picture on the right").select_option("Reference")
    assert at(page, 0.75, tmp_path)[1] > 200


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_a_phone_and_words_can_be_read(gallery: Path, open_page: Any, dark: bool) -> None:
    page = open_page(gallery, dark=dark, width=360, height=740, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CONTRAST, list(WORDS)) >= 4.5
    page.locator(".open").first.tap()
    assert page.locator("#stage").bounding_box()["height"] > 300
    assert page.evaluate("document.querySelector('#large').scrollWidth") <= 360
    sizes = [button.bounding_box() for button in page.locator("#large .bar button").all()]
    assert all(min(box["width"], box["height"]) >= 44 for box in sizes)


def test_without_a_script_everything_is_there(gallery: Path, open_page: Any) -> None:
    page = open_page(gallery, java_script_enabled=False)
    assert len(names(page)) == 5
    assert names(page)[0] == "café.png"
    assert page.locator("#tools").is_hidden()


WORDS = (
    "h1",
    ".line",
    ".label",
    ".count-line",
    ".badge",
    ".spread",
    ".verdict",
    ".name",
    ".reasoning",
    "label",
    "select",
)
