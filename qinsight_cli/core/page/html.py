"""An answer as HTML: while the model writes it, and when it is complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from qinsight_cli.core.page.asking import Answered
from qinsight_cli.core.report.gallery.page import template
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST
from qinsight_cli.core.tasks.verdict import QUALITY

if TYPE_CHECKING:
    from jinja2 import Template

STEP = 0.1  # of the ratings in the chart


def answer_html(task: Task, found: str | Answered) -> str:
    """The text so far, or an answer, as HTML. Words of the model are escaped."""
    answer = found if isinstance(found, Answered) else None
    return _template("answers.html").render(
        name=task.name,
        title=title_of(task),
        busy=answer is None,
        written="" if isinstance(found, Answered) else reasoning_so_far(found),
        card=answer and answer.card,
        chances=[(name.replace("_", " "), chance) for name, chance in (answer.chances if answer else {}).items()],
        bars=heights(answer.shares) if answer else [],
        about=spoken(answer.shares) if answer else "",
        scale=QUALITY,
    )


def picture_html(name: str, address: str) -> str:
    """A picture with its name. `address` is a data URL; "" if the picture cannot be shown."""
    return _template("picture.html").render(name=name, address=address)


def title_of(task: Task) -> str:
    return task.heading or task.name.capitalize()


def reasoning_so_far(text: str) -> str:
    """The reasoning of an unfinished completion, without complete or incomplete tags."""
    inside = text.partition("</think>")[0].partition("<answer>")[0]
    inside = inside.partition("<think>")[2] if "<think>" in inside else inside
    return re.sub(r"</?[a-z]*$", "", inside).strip()


def heights(shares: Mapping[float, float]) -> list[float]:
    """The bars of a chart over the ratings from 1 to 5 in steps of 0.1, as heights from 0 to 1; none without a
    distribution."""
    if not shares:
        return []
    sums = [0.0] * (round((HIGHEST - LOWEST) / STEP) + 1)
    for value, share in shares.items():
        sums[round((value - LOWEST) / STEP)] += share
    return [each / max(sums) for each in sums]


def spoken(shares: Mapping[float, float]) -> str:
    """The distribution in words, for screen readers."""
    if not shares:
        return ""
    by_word = dict.fromkeys(reversed(QUALITY), 0.0)
    for value, share in shares.items():
        by_word[QUALITY[min(4, int(value + 0.5) - 1)]] += share
    said = [f"{word} {100 * share:.0f} %" for word, share in by_word.items() if share >= 0.005]
    return f"Distribution of the rating: {', '.join(said)}"


@cache
def _template(name: str) -> Template:
    return template((files(__package__) / name).read_text(encoding="utf-8"))
