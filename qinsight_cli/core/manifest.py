"""The one dataset format: JSON lines beside a card, one row a sample.

A dataset folder holds `train.jsonl`, `test.jsonl`, ... and `dataset.json`, the card that says where it came from and
what it counts. A row is

    {"id", "task", "split", "source", "images": {role: path relative to the folder}, truth..., "raw_label", "reasoning"}

where the truth is `rating` in [1, 5], higher better; or `distortion` and `severity`; or `winner`. `raw_label` keeps the
original label and `reasoning` is there only when a row has one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS

CARD = "dataset.json"
_NAMED = ("id", "task", "split", "source", "images", "raw_label", "reasoning")


@dataclass(frozen=True)
class Sample:
    """One manifest row. `images` maps a role to an absolute path; `truth` holds the task's truth fields."""

    id: str
    task: str
    split: str
    source: str
    images: Mapping[str, Path]
    truth: Mapping[str, Any]
    raw_label: Any = None
    reasoning: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def answer(self) -> Any:
        """The truth as the task's answer dataclass. Raises QInsightError when a field is out of range."""
        return TASKS[self.task].truth(self.truth)


def write_dataset(folder: Path, samples: Iterable[Sample], card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifests and the card of a dataset, each file atomically; returns the card as written."""
    folder.mkdir(parents=True, exist_ok=True)
    by_split: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for sample in samples:
        by_split.setdefault(sample.split, []).append(json.dumps(_to_row(sample, folder), ensure_ascii=False))
        counts[f"{sample.split}/{sample.task}"] += 1
    digests = {}
    for split, lines in sorted(by_split.items()):
        content = "\n".join(lines) + "\n"
        digests[split] = hashlib.sha256(content.encode()).hexdigest()
        _replace(folder / f"{split}.jsonl", content)
    written = {**card, "counts": dict(sorted(counts.items())), "sha256": digests}
    _replace(folder / CARD, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    return written


def read_split(folder: Path, split: str, tasks: Iterable[str] | None = None) -> list[Sample]:
    """The rows of one split of a dataset folder, checked; only those of `tasks` when given.

    Raises QInsightError naming the file and line of the first bad row, or the folder that is not a dataset.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        found = sorted(file.stem for file in folder.glob("*.jsonl")) if folder.is_dir() else []
        hint = f"it has {', '.join(found)}" if found else "make one with qinsight prepare"
        raise QInsightError(f"{folder} has no {path.name}; {hint}")
    wanted = set(tasks) if tasks is not None else None
    samples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            sample = _from_row(json.loads(line), folder)
        except (QInsightError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise QInsightError(f"{path}, line {number}: {_reason(error)}") from error
        if wanted is None or sample.task in wanted:
            samples.append(sample)
    return samples


def tasks_of(folder: Path) -> set[str]:
    """The tasks that a dataset folder holds, from its card; empty when the folder is not a dataset."""
    try:
        counts = json.loads((folder / CARD).read_text(encoding="utf-8"))["counts"]
    except (OSError, ValueError, KeyError):
        return set()
    return {name.partition("/")[2] for name in counts}


def _to_row(sample: Sample, folder: Path) -> dict[str, Any]:
    images = {role: Path(os.path.relpath(path, folder)).as_posix() for role, path in sample.images.items()}
    row = {"id": sample.id, "task": sample.task, "split": sample.split, "source": sample.source, "images": images}
    row |= dict(sample.truth)
    if sample.raw_label is not None:
        row["raw_label"] = sample.raw_label
    if sample.reasoning:
        row["reasoning"] = sample.reasoning
    return row | dict(sample.extra)


def _from_row(row: Mapping[str, Any], folder: Path) -> Sample:
    if row["task"] not in TASKS:
        raise QInsightError(f"unknown task {row['task']!r}; tasks are {', '.join(TASKS)}")
    task = TASKS[row["task"]]
    answer = task.truth(row)
    images = {role: folder / path for role, path in row["images"].items()}
    missing = [role for role in task.roles if role not in images]
    if missing:
        raise QInsightError(f"a {task.name} row needs the image {missing[0]!r}")
    truth = {name: row[name] for name in task.fields(answer)}
    rest = {name: value for name, value in row.items() if name not in _NAMED and name not in truth}
    return Sample(
        id=str(row["id"]),
        task=task.name,
        split=row["split"],
        source=row["source"],
        images=images,
        truth=truth,
        raw_label=row.get("raw_label"),
        reasoning=row.get("reasoning", ""),
        extra=rest,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return str(error)


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
