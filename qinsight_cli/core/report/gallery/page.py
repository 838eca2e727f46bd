"""One page of the gallery: the cards into the template, with style and script inside, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.report.gallery.cards import Card, choices
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST

if TYPE_CHECKING:
    from jinja2 import Template

MOST_BARS = 8
GENERATOR = b'<meta name="generator" content="qinsight gallery">'  # by which a page is known to be ours


@dataclass(frozen=True)
class Link:
    """Another page: where it is, and what is on it."""

    address: str
    words: str
    current: bool = False


@dataclass(frozen=True)
class About:
    """What all pages of a gallery say: its title, a line below it, and how often each answer was given."""

    title: str
    line: str = ""
    counts: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Bar:
    """One answer of the histogram: how often it was given, its length from 0 to 1, its place on the scale if any."""

    words: str
    count: int
    length: float
    place: float | None


def bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """The histogram of a gallery: at most MOST_BARS answers, the rest as one."""
    if len(counts) > MOST_BARS:
        rest = sum(count for _, count in counts[MOST_BARS - 1 :])
        counts = [*counts[: MOST_BARS - 1], ("others", rest)]
    most = max((count for _, count in counts), default=0)
    return [Bar(words, count, count / most, _place(words)) for words, count in counts if most]


def _place(words: str) -> float | None:
    """The middle of a bin such as "2.0 – 2.5" on the scale, 0 to 1; None for other answers."""
    ends = words.split(" – ")
    return None if len(ends) != 2 else (sum(map(float, ends)) / 2 - LOWEST) / (HIGHEST - LOWEST)


def page(about: About, cards: Sequence[Card], thumbnails: Mapping[str, str], folder: str, links: Sequence[Link]) -> str:
    """The HTML of one page. `thumbnails` has a data address, or "", for the path of every picture of the cards;
    `folder` is where the page will stand. All names and words of models are escaped."""
    script, style = _part("gallery.js"), _part("gallery.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template(_part("gallery.html")).render(
        about=about,
        bars=bars(about.counts),
        cards=[(card, [(p, thumbnails.get(p.path, ""), p.address(folder)) for p in card.pictures]) for card in cards],
        filters=choices(cards),
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
    """A page of HTML in which all names and words of models are escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = plain
    return environment.from_string(source)


def plain(text: Any) -> str:
    """A text without lone surrogates, which UTF-8 cannot hold, and without NUL, which HTML cannot."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd")
