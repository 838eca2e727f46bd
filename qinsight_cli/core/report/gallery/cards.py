"""Cards: the rows as the gallery shows them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from qinsight_cli.core.report.tables import printable
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.tasks.score import HIGHEST, LOWEST
from qinsight_cli.core.tasks.verdict import named_damage

ROLE_NAMES = {"image_a": "Image A", "image_b": "Image B", "reference": "Reference"}


@dataclass(frozen=True)
class Picture:
    """A picture of a card. `label` is its role, "" for a single picture; `path` is as given."""

    label: str
    path: str

    @property
    def name(self) -> str:
        """The file name, with control characters escaped."""
        return printable(os.path.basename(self.path) or self.path)

    def address(self, folder: str) -> str:
        """The URL of the file, relative to a page in `folder`, percent-encoded; "" across Windows drives."""
        try:
            relative = os.path.relpath(self.path, folder)
        except ValueError:
            return ""
        return quote(os.fsencode(relative.replace(os.sep, "/")))


@dataclass(frozen=True)
class Card:
    """One row of a gallery.

    number   in [1, 5], with its standard deviation `spread`
    words    column -> word, for the filters
    said     an answer in words
    badness  the sort key: the worse, the higher
    note     text next to the answer, such as the label of a benchmark's row
    group    the system and dataset of the row, if a page shows several
    """

    pictures: tuple[Picture, ...]
    number: float | None = None
    spread: float | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    verdict: str = ""
    reasoning: str = ""
    error: str = ""
    badness: float | None = None
    note: str = ""
    group: str = ""

    @property
    def share(self) -> float:
        """The place of the number on its scale, from 0 to 1; of words by their badness, where 5 is the worst."""
        if self.number is not None:
            return (self.number - LOWEST) / (HIGHEST - LOWEST)
        return 1 - min(5.0, self.badness or 0.0) / 5

    @property
    def title(self) -> str:
        """The names of its pictures."""
        return ", ".join(picture.name for picture in self.pictures)


def card_of(task: Task, row: Mapping[str, Any]) -> Card:
    """A row of `rows.row_of` -> its card."""
    columns = [*task.image_columns, *task.optional]
    several = len(columns) > 1
    pictures = tuple(
        Picture(ROLE_NAMES.get(column, column) if several else "", str(row[column]))
        for column in columns
        if row.get(column) is not None
    )
    number = row.get(task.number) if task.number else None
    spread = row.get(f"{task.number}_std")
    answered = row["error"] is None
    said = {column: str(row[column]) for column in task.columns if row.get(column) is not None and not task.number}
    return Card(
        pictures=pictures,
        number=None if number is None else float(number),
        spread=None if spread is None else float(spread),
        words=said or _damage(row.get("reasoning") or "", answered and bool(task.number)),
        said=_phrase(said, {picture.label for picture in pictures}),
        verdict=printable(row.get("verdict") or ""),
        reasoning=row.get("reasoning") or "",
        error=printable(row["error"] or ""),
        badness=task.badness(row) if answered and task.badness is not None else None,
        note="the answer changes with the order" if row.get("agreement") == "disagree" else "",
    )


def _phrase(said: Mapping[str, str], labels: Collection[str]) -> str:
    """An answer in words as a person says it: "serious blur", "Image A is better"."""
    words = list(dict.fromkeys(reversed(list(said.values()))))
    return " ".join(f"{word} is better" if word in labels else word for word in words)


def _damage(reasoning: str, wanted: bool) -> dict[str, str]:
    """The worst damage that a reasoning names, as the columns of a degradation."""
    if not wanted:
        return {}
    named = named_damage(reasoning)
    severity, _, distortion = named[0].partition(" ") if named else ("none", "", "none named")
    return {"distortion": distortion, "severity": severity}


def worst_first(cards: Iterable[Card]) -> list[Card]:
    """The cards in the order of a gallery: the worst first, then those without a badness, errors last."""
    return sorted(cards, key=lambda card: (bool(card.error), -(card.badness if card.badness is not None else -9.0)))


def filters(cards: Sequence[Card]) -> dict[str, list[str]]:
    """Column -> its words to filter by, the most frequent first. Columns with a single word are left out."""
    found: dict[str, Counter[str]] = {}
    for card in cards:
        for column, word in card.words.items():
            found.setdefault(column, Counter())[word] += 1
    return {c: [word for word, _ in counts.most_common()] for c, counts in found.items() if len(counts) > 1}
