"""The answers of several models side by side, as in Figures 3, 4 and A-E: for the terminal and as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qinsight_cli.core.report.gallery.cards import Card, Picture
from qinsight_cli.core.report.gallery.page import GENERATOR, template
from qinsight_cli.core.report.tables import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NO_REASONING = "(no reasoning)"


@dataclass(frozen=True)
class Explained:
    """One question, and the answer of each model, by its label."""

    pictures: tuple[Picture, ...]
    said: Sequence[tuple[str, Card]]


def answer_of(card: Card) -> str:
    """The answer of a model, on one line."""
    if card.error:
        return card.error
    return f"{card.number:.2f}" if card.number is not None else card.said


def terminal(explained: Sequence[Explained]) -> RenderableType:
    """One table for each question: a column for each model, with its answer in bold above its reasoning."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables = []
    for one in explained:
        names = ", ".join(f"{p.label} {printable(p.path)}".strip() for p in one.pictures)
        table = Table(title=Text(names), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, expand=True)
        for label, _ in one.said:
            table.add_column(Text(printable(label)), ratio=1, overflow="fold")
        styles = ["red" if card.error else "bold" for _, card in one.said]
        answers = [Text(answer_of(card), style) for (_, card), style in zip(one.said, styles, strict=True)]
        table.add_row(*answers)
        table.add_row(*(Text(printable(card.reasoning or NO_REASONING)) for _, card in one.said))
        tables.append(table)
    return Group(*tables)


def page(title: str, explained: Sequence[Explained], thumbnails: Mapping[str, str], folder: str) -> str:
    """The same as one HTML file. All names and words of models are escaped.

    thumbnails  path of a picture -> its data URL, or ""
    folder      of the page, for links to the pictures
    """
    rows = [
        {
            "pictures": [(p, thumbnails.get(p.path, ""), p.address(folder)) for p in one.pictures],
            "said": [(label, answer_of(card), card) for label, card in one.said],
        }
        for one in explained
    ]
    return template(_PAGE).render(title=title, rows=rows, generator=GENERATOR.decode(), nothing=NO_REASONING)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{{ generator | safe }}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title | plain }}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
.pictures, .said { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; flex: 1 1 16rem; max-width: 40rem }
img { max-width: 100%; border-radius: 4px }
figcaption { overflow-wrap: anywhere; font-size: .85rem }
article { flex: 1 1 18rem; border: 1px solid #8886; border-radius: 6px; padding: .75rem 1rem; overflow-wrap: anywhere }
h3 { margin: 0; font-size: .9rem; font-weight: 600 }
.answer { font-size: 1.4rem; font-weight: 700; margin: .25rem 0 }
.error { color: #c33 }
.reasoning { white-space: pre-line; margin: 0 }
section { margin-bottom: 3rem }
section > * + * { margin-top: 1rem }
</style>
</head>
<body>
<h1>{{ title | plain }}</h1>
{% for row in rows %}
<section>
<div class="pictures">
{% for picture, small, address in row.pictures %}
<figure>
{% if small %}<img src="{{ small }}" alt="{{ picture.name | plain }}">{% endif %}
<figcaption>{% if picture.label %}{{ picture.label }}: {% endif %}
{% if address %}<a href="{{ address }}">{{ picture.name | plain }}</a>{% else %}{{ picture.name | plain }}{% endif %}
</figcaption>
</figure>
{% endfor %}
</div>
<div class="said">
{% for label, answer, card in row.said %}
<article>
<h3>{{ label | plain }}</h3>
<p class="answer{{ " error" if card.error }}">{{ answer | plain }}</p>
<p class="reasoning">{{ (card.reasoning or nothing) | plain }}</p>
</article>
{% endfor %}
</div>
</section>
{% endfor %}
</body>
</html>
"""
