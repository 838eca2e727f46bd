"""Which prepared datasets a run trains on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.manifest import CARD, Sample, read_split, tasks_of

DATA = Path("data")


def collect(folders: Sequence[Path] | None, wanted: Iterable[str]) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Training rows of the wanted tasks, and name and digest of each dataset they come from.

    folders  prepared datasets, or None for every one under data/ that holds a wanted task
    wanted   tasks, or `task/source` names of a mix
    Raises QInsightError when there is no dataset, or one has no training rows.
    """
    tasks = {name.partition("/")[0] for name in wanted}
    if not folders:
        folders = [card.parent for card in sorted(DATA.glob(f"*/{CARD}")) if tasks_of(card.parent) & tasks]
        if not folders:
            raise QInsightError(
                f"no dataset under {DATA}/ holds {', '.join(sorted(tasks))}; make one, "
                "for example: qinsight prepare synth PHOTOS, or give --data"
            )
    samples: list[Sample] = []
    digests = []
    for folder in folders:
        rows = read_split(folder, "train", tasks)
        if not rows:
            raise QInsightError(f"{folder} has no training rows for {', '.join(sorted(tasks))}")
        samples += rows
        digests.append({"data": folder.name, "sha256": _digest(folder)})
    return samples, digests


def _digest(folder: Path) -> str | None:
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))["sha256"]["train"]
    except (OSError, ValueError, KeyError):
        return None
