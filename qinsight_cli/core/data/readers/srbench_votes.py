"""The raters' own answers of SRIQA-Bench: one JSON file for each rater and pair."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from qinsight_cli.core.errors import QInsightError

# Two picture names in alphabetical order -> answers for each name, and for "" if both were found similar.
Votes = Mapping[tuple[str, ...], Mapping[str, int]]
_WORTH = {"Positive": 1, "Similar": 0, "Negative": -1}


def read_votes(source: Path) -> Votes:
    """The answers below `labels/` of the folder; empty if there are none. Raises QInsightError for a broken file."""
    votes: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for path in sorted((source / "labels").glob("*/*/*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            pictures = [record[key] for key in ("Picture_01", "Picture_02")]
            names = [Path(picture["Name"]).stem + ".png" for picture in pictures]
            worth = [_WORTH[picture["Label"]] for picture in pictures]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
            raise QInsightError(f"{path} is not an answer of SRIQA-Bench: {type(error).__name__} {error}") from None
        chosen = "" if worth[0] == worth[1] else names[worth[1] > worth[0]]
        votes[tuple(sorted(names))][chosen] += 1
    return votes
