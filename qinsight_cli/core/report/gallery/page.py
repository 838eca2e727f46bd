"""One page of the gallery: the cards as one HTML file, with style and script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.report.gallery.cards import Card, filters
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

if TYPE_CHECKING:
    from jinja2 import Template

MOST_BARS = 8
GENERATOR = b'<meta name="generator" content="qinsight gallery">'  # marks a page as ours


@dataclass(frozen=True)
class Link:
    """A link to a page of the gallery."""

    address: str
    words: str
    current: bool = False


@dataclass(frozen=True)
class About:
    """The head of all pages of a gallery: the title, a line below it, and how often each answer was given."""

    title: str
    line: str = ""
    counts: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: its count, its length from 0 to 1, and its place on the scale, if it has one."""

    words: str
    count: int
    length: float
    place: float | None


def bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """The histogram of a gallery: at most MOST_BARS bars, the last one for all other answers."""
    if len(counts) > MOST_BARS:
        rest = sum(count for _, count in counts[MOST_BARS - 1 :])
        counts = [*counts[: MOST_BARS - 1], ("others", rest)]
    most = max((count for _, count in counts), default=0)
    return [Bar(words, count, count / most, _place(words)) for words, count in counts if most]


def _place(words: str) -> float | None:
    """The middle of a bin such as "2.0 – 2.5", as a place on the scale from 0 to 1; None for other answers."""
    ends = words.split(" – ")
    return None if len(ends) != 2 else (sum(map(float, ends)) / 2 - LOWEST) / (HIGHEST - LOWEST)


def page(about: About, cards: Sequence[Card], thumbnails: Mapping[str, str], folder: str, links: Sequence[Link]) -> str:
    """The HTML of one page. All names and words of models are escaped.

    thumbnails  path of a picture -> its data URL, or ""
    folder      of the page, for links to the pictures
    """
    script, style = _part("gallery.js"), _part("gallery.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template(_part("gallery.html")).render(
        about=about,
        bars=bars(about.counts),
        cards=[(card, [(p, thumbnails.get(p.path, ""), p.address(folder)) for p in card.pictures]) for card in cards],
        filters=filters(cards),
        groups=list(dict.fromkeys(card.group for card in cards if card.group)),
        errors=sum(bool(card.error) for card in cards),
        sortable=any(card.badness is not None for card in cards),
        links=links,
        generator=GENERATOR.decode(),
        style=style,
        script=script,
        digest=digest,
    )


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


@cache
def template(source: str) -> Template:
    """An HTML template that escapes all values."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = plain
    return environment.from_string(source)


def plain(text: Any) -> str:
    """A text without lone surrogates, which UTF-8 cannot encode, and without NUL, which HTML forbids."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd")
