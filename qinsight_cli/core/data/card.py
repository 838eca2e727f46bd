"""The card of a dataset, `dataset.json`: its sources and counts. One preparation at a time may replace it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import claim_folder, held_folder, write_text

CARD = "dataset.json"
LONGEST_VALUE = 40  # characters of a field that a message shows
# Fields about the result of a preparation, not about its sources.
_OUTCOME = ("counts", "sha256", "problems", "unfinished")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a dataset folder; empty if there is no readable card."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return _sound_card(card) if isinstance(card, dict) else {}


def _sound_card(card: dict[str, Any]) -> dict[str, Any]:
    """The card without fields of the wrong type: a user may have edited it."""
    kinds = {"counts": dict, "sha256": dict, "name": str}
    sound: dict[str, Any] = {name: value for name, value in card.items() if isinstance(value, kinds.get(name, object))}
    for name, kind in (("counts", int), ("sha256", str)):
        if name in sound:
            sound[name] = {key: value for key, value in sound[name].items() if isinstance(value, kind)}
    return sound


@contextmanager
def claimed(folder: Path, card: Mapping[str, Any], force: bool = False) -> Iterator[None]:
    """Hold `folder` for the dataset of `card`: new or empty, or the same dataset prepared before.

    card   what the dataset is made of: its name, options, and a digest of its labels
    force  replace a dataset of this name that was made of something else
    Raises QInsightError if the folder contains anything else, so that no user file is overwritten; if the dataset that
    is there was made of something else, naming what; or if another process writes it.
    """
    with held_folder(folder):
        name, found = card["name"], read_card(folder).get("name")
        claim_folder(folder, "dataset", lambda: found == name, f"the dataset {found!r}" if found else "")
        if found is None:
            write_text(folder / CARD, json.dumps({"name": name, "unfinished": True}) + "\n")
        if not force:
            _refuse_to_change(folder, read_card(folder), card)
        yield


def _refuse_to_change(folder: Path, before: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    if "unfinished" in before or not any(folder.glob("*.jsonl")):
        return
    old = {key: value for key, value in before.items() if key not in _OUTCOME}
    new = json.loads(json.dumps(card))
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    changed = [_in_words(key, old.get(key, "(none)"), new.get(key, "(none)")) for key in differing]
    if changed:
        raise QInsightError(
            f"{folder} holds {_rows_of(before):,} rows that were prepared in another way ({', '.join(changed)}); "
            "give another --out, or --force to replace them"
        )


def _in_words(key: str, old: object, new: object) -> str:
    """A changed field in words; of digests and long values only the name."""
    name = key.replace("_", " ")
    return name if max(len(str(old)), len(str(new))) > LONGEST_VALUE else f"{name} {old} -> {new}"


def refuse_to_shrink(folder: Path, before: Mapping[str, Any], rows: int) -> None:
    """Raise QInsightError if the dataset of the card `before` has more than `rows` rows."""
    were = _rows_of(before)
    if rows < were:
        raise QInsightError(
            f"{folder} holds {were:,} rows and would keep {rows:,}; add what is missing, give another --out, "
            "or --force to replace it"
        )


def _rows_of(card: Mapping[str, Any]) -> int:
    """The rows of a dataset according to its card."""
    return sum(card.get("counts", {}).values())
