"""A page read by an HTML parser: everything escaped, everything inside, the script the only one allowed."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from qinsight_cli.core.report.gallery.cards import Card, Picture
from qinsight_cli.core.report.gallery.page import MOST_BARS, About, Link, bars, page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\udcff\0{{ 7*7 }}"


class Read(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data


def hostile_page() -> str:
    card = Card(
        (Picture("", f"/p/{HOSTILE}"),), 2.0, 0.5, {"distortion": HOSTILE}, HOSTILE, HOSTILE, HOSTILE, group=HOSTILE
    )
    failed = Card((Picture("", "b.jpg"),), error=HOSTILE, words={"distortion": "none"}, group="b")
    return page(About(HOSTILE, HOSTILE, [(HOSTILE, 3)]), [card, failed], {}, "/out", [])


def test_no_name_or_word_becomes_markup() -> None:
    html = hostile_page()
    html.encode("utf-8")
    read = Read(html)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not [tag for tag, attributes in read.tags if any(name.startswith("on") for name in attributes)]
    assert not [1 for tag, attributes in read.tags if tag == "img" and attributes.get("src") == "x"]
    assert "49" not in read.text["h1"]
    assert "alert(1)" in read.text["h1"]


def test_only_this_script_may_run_and_nothing_comes_from_elsewhere() -> None:
    html = hostile_page()
    read = Read(html)
    policy = next(a["content"] for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(read.text["script"].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"https?://|@import|url\(", html)
    assert not [
        tag for tag, a in read.tags if tag == "link" or (tag in ("script", "img") and "http" in (a.get("src") or ""))
    ]


def test_every_control_has_a_label() -> None:
    read = Read(page(About("t"), [Card((Picture("", "a.jpg"),), 3.0, badness=-3.0)], {}, "/", [Link("x.html", "2")]))
    places = [i for i, (tag, _) in enumerate(read.tags) if tag in ("input", "select")]
    assert places
    labelled = {attributes.get("for") for tag, attributes in read.tags if tag == "label"}
    assert all(read.tags[place][1]["id"] in labelled for place in places)
    assert next(a for tag, a in read.tags if tag == "html")["lang"] == "en"
    assert all(a.get("aria-label") for tag, a in read.tags if tag == "nav")


def test_the_histogram_has_few_bars_and_loses_nothing() -> None:
    counts = [(f"answer {i}", 20 - i) for i in range(12)]
    shown = bars(counts)
    assert len(shown) == MOST_BARS
    assert sum(bar.count for bar in shown) == sum(count for _, count in counts)
    (bar,) = bars([("2.0 – 2.5", 4)])
    assert (bar.length, bar.place) == (1.0, pytest.approx(0.3125))
    assert bars([]) == []
