"""Which prepared datasets a run trains on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.manifest import CARD, Sample, read_split, tasks_of
from qinsight_cli.core.errors import QInsightError

DATA = Path("data")


def collect(
    folders: Sequence[Path] | None, wanted: Iterable[str], split: str = "train"
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Rows of the wanted tasks, and of each dataset they come from its name, digest, folder, split and number of rows.

    folders  prepared datasets, or None for every one under data/ that holds a wanted task in this split
    wanted   tasks, or `task/source` names of a mix
    Raises QInsightError when there is no dataset, or one has no such rows.
    """
    tasks = {name.partition("/")[0] for name in wanted}
    if not folders:
        folders = [card.parent for card in sorted(DATA.glob(f"*/{CARD}")) if tasks_of(card.parent, split) & tasks]
        if not folders:
            raise QInsightError(
                f"no dataset under {DATA}/ holds {', '.join(sorted(tasks))}; make one, "
                "for example: qinsight prepare synth PHOTOS, or give --data"
            )
    samples: list[Sample] = []
    digests = []
    for folder in folders:
        rows = read_split(folder, split, tasks)
        if not rows:
            kind = "training" if split == "train" else split
            raise QInsightError(f"{folder} has no {kind} rows for {', '.join(sorted(tasks))}")
        samples += rows
        source = {"data": folder.name, "sha256": _digest(folder, split)}
        digests.append({**source, "folder": str(folder), "split": split, "rows": len(rows)})
    return samples, digests


def _digest(folder: Path, split: str) -> str | None:
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))["sha256"][split]
    except (OSError, ValueError, KeyError):
        return None
