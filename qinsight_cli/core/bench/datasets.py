"""The prepared datasets on which a table is measured, and their rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.data.card import CARD, read_card
from qinsight_cli.core.data.manifest import DATA, Sample, find_datasets, read_split, tasks_of
from qinsight_cli.core.data.readers import NAMES
from qinsight_cli.core.data.splits import draw_stratified, draw_unit
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS

PREPARED = (*NAMES, "synth", "csv")  # what `qinsight prepare` can make


@dataclass(frozen=True)
class Dataset:
    """The rows of one task and split of a prepared dataset.

    key      the name of the folder, unique in a run
    name     the name in the dataset's card
    samples  the rows to measure, of `total` rows
    digest   SHA-256 of the manifest file
    note     what a reader should know about its labels
    """

    key: str
    name: str
    folder: Path
    task: str
    samples: tuple[Sample, ...]
    total: int
    digest: str
    note: str = ""

    @property
    def without(self) -> dict[str, int]:
        """Optional role of the task -> how many rows lack it; only roles that some rows lack."""
        counts = {role: sum(role not in one.images for one in self.samples) for role in TASKS[self.task].optional}
        return {role: count for role, count in counts.items() if count}

    def facts(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "name": self.name,
            "task": self.task,
            "rows": len(self.samples),
            "of": self.total,
            "sha256": self.digest,
            **{f"rows_without_{role}": count for role, count in self.without.items()},
        }


def check_folders(folders: Sequence[Path], tables: Sequence[Table]) -> None:
    """Raise QInsightError for a folder that is no dataset, or that has no rows for any of the tables."""
    for folder in folders:
        if not read_card(folder):
            name = folder.name if folder.name in PREPARED else "DATASET"
            there = [path.parent.name for path in folder.parent.glob(f"*/{CARD}")]
            near = get_close_matches(folder.name, there, n=1)
            way_out = f"prepare it with: qinsight prepare {name} SOURCE --out {folder}"
            if near:
                way_out = f"did you mean {folder.parent / near[0]}?"
            raise QInsightError(f"{folder} is not a prepared dataset; {way_out}")
        held = tasks_of(folder)
        if not held & {table.task for table in tables}:
            wanted = ", ".join(f"{table.name} needs {table.task}" for table in tables)
            raise QInsightError(f"{folder} has {' and '.join(sorted(held)) or 'no'} rows, but {wanted}")
    names = [folder.resolve().name for folder in folders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise QInsightError(f"two datasets are called {twice}; rename one folder")


def datasets_of_table(folders: Sequence[Path], table: Table, split: str = "test") -> tuple[list[Path], list[str]]:
    """The folders on which to measure a table, and a line for each dataset of the paper that is missing.

    Without `folders`: those under data/ whose split has the task. A table on one dataset takes the paper's own, or the
    others if that is missing. Datasets with computed ratings, not given by people, must be named.
    """
    if folders:
        return [folder for folder in folders if table.task in tasks_of(folder)], []
    cards = {path.parent: read_card(path.parent) for path in sorted(DATA.glob(f"*/{CARD}"))}
    names = {card.get("name") for card in cards.values()}
    missing = [
        f"{name} is not prepared: qinsight prepare {name} SOURCE" for name in table.datasets if name not in names
    ]
    there = find_datasets([table.task], split)
    if table.by_dataset:
        return [folder for folder in there if not _computed(cards[folder])], missing
    own = [folder for folder in there if cards[folder].get("name") in table.datasets]
    return own or there, missing


def load_dataset(folder: Path, task: str, split: str, limit: int | None, seed: int) -> Dataset | None:
    """The rows of one task, at most `limit` (see `draw_rows`). None if this split has no rows of the task.

    Raises QInsightError if the dataset cannot be read.
    """
    samples = read_split(folder, split, (task,))
    if not samples:
        return None
    kept = samples if limit is None else draw_rows(samples, limit, seed)
    card = read_card(folder)
    note = f"The ratings of {folder.resolve().name} are {card['ratings']}." if _computed(card) else ""
    content = (folder / f"{split}.jsonl").read_bytes()
    return Dataset(
        key=folder.resolve().name,
        name=str(card.get("name") or folder.resolve().name),
        folder=folder,
        task=task,
        samples=tuple(kept),
        total=len(samples),
        digest=hashlib.sha256(content).hexdigest(),
        note=note if TASKS[task].number else "",
    )


def draw_rows(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """A stratified sample in the order of the manifest: each class and severity, winner, or fifth of the rating scale
    keeps its share. If rows name the methods that they compare, all pairs of a content stay together."""
    if len(samples) <= limit:
        return list(samples)
    if all("methods" in sample.extra for sample in samples):
        return _whole_contents(samples, limit, seed)
    names = [sample.id for sample in samples]
    return [
        samples[index]
        for index in draw_stratified(names, [TASKS[s.task].stratum(s.truth) for s in samples], limit, seed)
    ]


def _whole_contents(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """The rows of randomly drawn contents, as many as fit into the limit, at least one."""
    sizes = Counter(str(sample.extra.get("content")) for sample in samples)
    chosen: set[str] = set()
    count = 0
    for content in sorted(sizes, key=lambda name: (draw_unit(seed, name), name)):
        if chosen and count + sizes[content] > limit:
            break
        chosen.add(content)
        count += sizes[content]
    return [sample for sample in samples if str(sample.extra.get("content")) in chosen]


def _computed(card: dict[str, Any]) -> bool:
    return str(card.get("ratings") or "").startswith("pseudo")
