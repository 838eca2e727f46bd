"""qinsight explain: several models about the same pictures, in the terminal and as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pixel_engine

DARK, BRIGHT = "photos/1.png", "photos/5.png"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []


def rating(path: str) -> str:
    return f"{pixel_engine.rating_of(Image.open(path)):.2f}"


def test_two_models_stand_in_two_columns(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("explain", DARK, "--model", "first=tiny", "--model", "second=q-insight")
    assert done.code == 0
    assert len(pixel_model) == 2
    assert pixel_model[1].identity["model"] == "pixels-q-insight:score_degradation-None"
    lines = done.out.splitlines()
    assert DARK in lines[0]
    assert any(re.search(r"first\s+second", line) for line in lines)
    assert any(line.split() == [rating(DARK)] * 2 for line in lines)
    assert done.out.count("It is seen.") == 2
    assert "model: second (q-insight:score_degradation)" in done.err


def test_the_page_has_every_picture_and_what_each_model_said(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("explain", DARK, BRIGHT, "--model", "<b>one</b>=tiny", "--model", "two=q-insight", "--html", "out.html")
    assert done.code == 0
    page = Page()
    page.feed(Path("out.html").read_text())
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2
    assert all(source.startswith("data:image/webp;base64,") for source in pictures)
    assert not [tag for tag, attributes in page.tags if tag in ("script", "link") or "onload" in attributes]
    assert page.words.count("<b>one</b>") == 2  # escaped, so it is text
    for path in (DARK, BRIGHT):
        assert page.words.count(rating(path)) == 2
    assert sum("It is seen." in words for words in page.words) == 4
    assert run("explain", DARK, "--html", "out.html").code == 0  # its own page is replaced, nothing else
    Path("mine.html").write_text("mine")
    assert run("explain", DARK, "--html", "mine.html").code == 1
    assert Path("mine.html").read_text() == "mine"


def test_a_folder_is_its_pictures(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("explain", "photos", "--model", "first=tiny")
    assert done.code == 0
    assert done.out.count("It is seen.") == len(photos)


def test_other_tasks(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("explain", DARK, BRIGHT, "--task", "comparison", "--ref", "photos/3.png", "--model", "q-insight")
    assert done.code == 0
    assert "Image B is better" in done.out
    assert "Reference photos/3.png" in done.out
    assert "null" not in run("explain", BRIGHT, "--task", "degradation").out


def test_a_broken_picture_is_said_and_the_exit_code_is_3(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("explain", "missing.jpg", DARK)
    assert done.code == 3
    assert "no such file" in done.out
    assert rating(DARK) in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((DARK, "--task", "beauty"), "--task beauty: tasks are"),
        ((DARK, "--task", "comparison"), "comparison needs 2 images, not 1"),
        ((DARK, "--ref", BRIGHT), "--ref is for a comparison of two images"),
        ((DARK, "--model", "tiny", "--model", "tiny"), "two models have the same label"),
    ],
)
def test_mistakes_are_one_line(photos: list[str], run: Any, pixel_model: Any, arguments: Any, words: str) -> None:
    done = run("explain", *arguments)
    assert done.code == 2
    assert words in done.err
    assert not pixel_model
