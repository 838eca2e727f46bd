"""The format of datasets: JSON lines with one sample a row, beside a card.

A dataset folder holds `train.jsonl`, `test.jsonl`, ... and `dataset.json`, the card with its source and counts.
A row is

    {"id", "task", "split", "source", "images": {role: path relative to the folder}, "files": {role: facts},
     truth..., "raw_label", "reasoning", ...}

where the truth is `rating` in [1, 5], higher better; or `distortion` and `severity`; or `winner`. `raw_label` keeps the
original label, `files` the hash and size of each picture when the dataset was prepared; both, and `reasoning`, are
present only if known. A dataset folder can be moved together with its pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.card import CARD, read_card, refuse_to_shrink
from qinsight_cli.core.disk_errors import disk_errors
from qinsight_cli.core.encodings import is_text, read_text
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import sync_everything, write_text
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.base import shorten

LONGEST_REASON = 300  # characters
DATA = Path("data")  # where prepare writes datasets, and train and bench look for them
_TYPES: dict[str, tuple[Any, str]] = {  # field of a row -> its type, and the word for it
    "id": ((str, int), "text"),
    "task": (str, "text"),
    "split": (str, "text"),
    "source": (str, "text"),
    "images": (dict, "object"),
    "files": (dict, "object"),
    "reasoning": (str, "text"),
    "content": ((str, int), "text"),
    "damage": (str, "text"),
    "methods": (list, "list"),
    "pseudo_mos": ((int, float), "number"),
}
_NEEDED = ("task", "split", "source", "images", "id")
_NAMED = ("id", "task", "split", "source", "images", "files", "raw_label", "reasoning")


@dataclass(frozen=True)
class FileFacts:
    """A picture at the time of preparation: SHA-256 of its bytes in hex, and its upright size in pixels."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Sample:
    """One manifest row. `images` maps a role to an absolute path; `truth` holds the task's truth fields.

    `files` has the facts of some or all roles; `extra` holds all other fields of the row.
    """

    id: str
    task: str
    split: str
    source: str
    images: Mapping[str, Path]
    truth: Mapping[str, Any]
    raw_label: Any = None
    reasoning: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileFacts] = field(default_factory=dict)

    def answer(self) -> Any:
        """The truth as the task's answer dataclass. Raises QInsightError if a field is out of range."""
        return TASKS[self.task].truth(self.truth)


def write_dataset(
    folder: Path, samples: Iterable[Sample], card: Mapping[str, Any], force: bool = False
) -> dict[str, Any]:
    """Write the manifests and the card of a dataset, each file atomically; returns the card as written.

    Pictures in the folder, written without an fsync each, are made durable first. Manifests that an earlier card of the
    folder names and this one does not are removed.
    Raises QInsightError if the name of a picture is not valid text, and, unless `force`, if the dataset that is there
    has more rows.
    """
    before = read_card(folder)
    by_split: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    ours = False
    for sample in samples:
        ours = ours or any(path.is_relative_to(folder) for path in sample.images.values())
        by_split.setdefault(sample.split, []).append(json.dumps(_to_row(sample, folder), ensure_ascii=False))
        counts[f"{sample.split}/{sample.task}"] += 1
    if not force:
        refuse_to_shrink(folder, before, counts.total())
    if ours:
        sync_everything()
    digests = {}
    for split, lines in sorted(by_split.items()):
        content = "\n".join(lines) + "\n"
        digests[split] = hashlib.sha256(content.encode()).hexdigest()
        write_text(folder / f"{split}.jsonl", content)
    written = {**card, "counts": dict(sorted(counts.items())), "sha256": digests}
    write_text(folder / CARD, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    for split in set(before.get("sha256", {})) - set(digests):
        with disk_errors(folder / f"{split}.jsonl"):
            (folder / f"{split}.jsonl").unlink(missing_ok=True)
    return written


def read_split(folder: Path, split: str, tasks: Iterable[str] | None = None) -> list[Sample]:
    """The rows of one split of a dataset folder, checked; only those of `tasks` when given.

    Raises QInsightError naming the file and line of the first invalid row, or the folder that is not a dataset.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        found = sorted(file.stem for file in folder.glob("*.jsonl")) if folder.is_dir() else []
        hint = f"it has {', '.join(found)}" if found else "make one with qinsight prepare"
        raise QInsightError(f"{folder} has no {path.name}; {hint}")
    wanted = set(tasks) if tasks is not None else None
    samples = []
    for number, sample in read_rows(path):
        if isinstance(sample, QInsightError):
            raise QInsightError(f"{path}, line {number}: {sample}") from sample
        if sample.split != split:
            raise QInsightError(
                f"{path}, line {number}: the row says that it belongs to the split {sample.split!r}; "
                f"move it to {sample.split}.jsonl or correct its split"
            )
        if wanted is None or sample.task in wanted:
            samples.append(sample)
    return samples


def read_rows(path: Path) -> Iterator[tuple[int, Sample | QInsightError]]:
    """Line number (from 1) and row of each line of a manifest; an error in place of an invalid row."""
    text = read_text(path)
    # Not splitlines(): a name may contain U+2028 or similar, which JSON does not escape.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, _from_row(json.loads(line), path.parent)
        except (QInsightError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            yield number, QInsightError(_reason(error))


def find_datasets(tasks: Iterable[str], split: str | None = None) -> list[Path]:
    """The prepared datasets under data/ that hold rows of one of the tasks, in this split if it is given, by name."""
    wanted = set(tasks)
    return [card.parent for card in sorted(DATA.glob(f"*/{CARD}")) if tasks_of(card.parent, split) & wanted]


def tasks_of(folder: Path, split: str | None = None) -> set[str]:
    """The tasks of a dataset folder, or of one split, according to its card; empty if it is not a dataset."""
    counts = [name.partition("/") for name in read_card(folder).get("counts", ())]
    return {task for found, _, task in counts if split in (None, found)}


def _to_row(sample: Sample, folder: Path) -> dict[str, Any]:
    images = {role: Path(os.path.relpath(path, folder)).as_posix() for role, path in sample.images.items()}
    for path in images.values():
        if not is_text(path):
            raise QInsightError(f"the file name {path!a} is not text; rename the file")
    row = {"id": sample.id, "task": sample.task, "split": sample.split, "source": sample.source, "images": images}
    if sample.files:
        row["files"] = {role: vars(facts) for role, facts in sample.files.items()}
    row |= dict(sample.truth)
    if sample.raw_label is not None:
        row["raw_label"] = sample.raw_label
    if sample.reasoning:
        row["reasoning"] = sample.reasoning
    return row | dict(sample.extra)


def _from_row(row: Any, folder: Path) -> Sample:
    if not isinstance(row, dict):
        raise QInsightError(f"the line is {shorten(str(row), 40)}, not a JSON object")
    for name, (kind, word) in _TYPES.items():
        if (name in row or name in _NEEDED) and (isinstance(row[name], bool) or not isinstance(row[name], kind)):
            raise QInsightError(f"the field {name!r} is {shorten(str(row[name]), 40)}, not {word}")
    if not all(isinstance(path, str) and path and "\0" not in path for path in row["images"].values()):
        raise QInsightError("the field 'images' must hold a path for each role")
    if not (all(isinstance(name, str) for name in row.get("methods", ())) and len(row.get("methods", "ab")) == 2):
        raise QInsightError("the field 'methods' does not hold two names")
    if row["task"] not in TASKS:
        raise QInsightError(f"unknown task {row['task']!r}; tasks are {', '.join(TASKS)}")
    task = TASKS[row["task"]]
    answer = task.truth(row)
    images = {role: folder / path for role, path in row["images"].items()}
    missing = [role for role in task.roles if role not in images]
    if missing:
        raise QInsightError(f"a {task.name} row needs the image {missing[0]!r}")
    truth = task.fields(answer)
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
        files={role: _facts(facts) for role, facts in row.get("files", {}).items()},
    )


def _facts(facts: Any) -> FileFacts:
    """Raises QInsightError if `facts` are not a hash and a size."""
    kinds = {"sha256": str, "width": int, "height": int}
    if not isinstance(facts, dict) or {name: type(value) for name, value in facts.items()} != kinds:
        raise QInsightError("the field 'files' must hold sha256, width and height of each picture")
    return FileFacts(**facts)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}"
    words = str(error)
    return words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]}..."
