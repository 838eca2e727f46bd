"""Validation of a prepared dataset: schema, files, ranges, hashes, and overlap between splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.card import CARD, read_card
from qinsight_cli.core.data.inspect_images import ImageToInspect, InspectedImage, inspect_images
from qinsight_cli.core.data.manifest import Sample, read_rows
from qinsight_cli.core.data.problems import near_duplicate_problems
from qinsight_cli.core.encodings import read_text
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.degradation import CLASSES, NULL, SEVERITIES

BINS = 8  # of half a rating each


@dataclass
class CheckReport:
    """The findings. `errors` make the dataset invalid; `notes` are for a person to judge."""

    rows: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_dataset(
    folder: Path, workers: int, quick: bool, progress: Callable[[int], Callable[[], None]]
) -> CheckReport:
    """Read every manifest of a dataset folder and, unless `quick`, hash and decode every picture.

    Raises QInsightError if the folder has no manifest.
    """
    manifests = sorted(folder.glob("*.jsonl"))
    if not manifests:
        raise QInsightError(f"{folder} holds no manifest (*.jsonl); make one with qinsight prepare")
    report = CheckReport()
    _check_card(folder, manifests, report)
    where: dict[int, str] = {}
    for path in manifests:
        _check_rows(path, report, where)
    _check_ids(report, where)
    paths = list(dict.fromkeys(image for row in report.rows for image in row.images.values()))
    if quick:
        report.errors += [f"no such picture: {path}" for path in paths if not path.is_file()]
        seen: dict[Path, InspectedImage] = {}
    else:
        inspected = inspect_images([ImageToInspect(path) for path in paths], workers, progress(len(paths)))
        found = dict(zip(paths, inspected, strict=True))
        report.errors += [f"{path}: {reason}" for path, reason in found.items() if isinstance(reason, str)]
        seen = {path: result for path, result in found.items() if isinstance(result, InspectedImage)}
        _check_facts(report, where, seen)
    _check_leaks(report, seen)
    return report


def _check_card(folder: Path, manifests: Sequence[Path], report: CheckReport) -> None:
    card = read_card(folder)
    if not card:
        report.errors.append(f"{CARD} is missing or cannot be read")
        return
    if card.get("unfinished"):
        report.errors.append(f"{CARD} says that the dataset is unfinished: run qinsight prepare again")
    digests = card.get("sha256", {})
    for path in manifests:
        if digests.get(path.stem) != hashlib.sha256(path.read_bytes()).hexdigest():
            report.errors.append(f"{path.name} is not the file that {CARD} was written for: it was changed since")
    report.errors += [f"{split}.jsonl is missing" for split in digests if folder / f"{split}.jsonl" not in manifests]


def _check_rows(path: Path, report: CheckReport, where: dict[int, str]) -> None:
    """Check schema and ranges of each row; valid rows go into the report."""
    for number, sample in read_rows(path):
        place = f"{path.name}, line {number}"
        if isinstance(sample, QInsightError):
            report.errors.append(f"{place}: {sample}")
            continue
        if sample.split != path.stem:
            report.errors.append(f"{place}: the row's split is {sample.split!r}")
        where[len(report.rows)] = place
        report.rows.append(sample)
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if '"/' in line and any(str(name).startswith("/") for name in _names(line)):
            report.errors.append(f"{path.name}, line {number}: an absolute path; the dataset cannot be moved")


def _names(line: str) -> Iterable[Any]:
    try:
        return json.loads(line)["images"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _check_ids(report: CheckReport, where: Mapping[int, str]) -> None:
    first: dict[str, str] = {}
    for index, row in enumerate(report.rows):
        if row.id in first:
            report.errors.append(f"{where[index]}: the id {row.id!r} appears twice, first in {first[row.id]}")
        first.setdefault(row.id, where[index])


def _check_facts(report: CheckReport, where: Mapping[int, str], seen: Mapping[Path, InspectedImage]) -> None:
    """Compare hash and size of every picture with those recorded when the dataset was prepared."""
    unknown = 0
    for index, row in enumerate(report.rows):
        for role, path in row.images.items():
            facts = row.files.get(role)
            unknown += facts is None
            if facts is not None and path in seen and facts != seen[path].facts:
                report.errors.append(
                    f"{where[index]}: {path} is not the picture that was prepared: it was changed since"
                )
    if unknown:
        how_many = "1 picture has" if unknown == 1 else f"{unknown:,} pictures have"
        report.notes.append(f"{how_many} no recorded hash; prepare the dataset again to have one")


def _check_leaks(report: CheckReport, seen: Mapping[Path, InspectedImage]) -> None:
    """The same file or content in two splits is an error; pictures that look the same are a note."""
    files: dict[str, set[str]] = defaultdict(set)
    contents: dict[tuple[str, str], set[str]] = defaultdict(set)
    content_images: dict[tuple[str, str], tuple[int, Path, str]] = {}
    for row in report.rows:
        content = str(row.extra.get("content") or "")
        for role, path in row.images.items():
            digest = seen[path].facts.sha256 if path in seen else row.files[role].sha256 if role in row.files else ""
            files[digest or str(path)].add(row.split)
        if content:
            contents[row.source, content].add(row.split)
        # The picture that represents a content: its reference, else its undistorted picture, else any.
        clean = row.truth.get("distortion") == NULL
        content_image = row.images.get("reference") or next(iter(row.images.values()))
        rank = 0 if "reference" in row.images else 1 if clean else 2
        key = (row.source, content or str(content_image))
        content_images[key] = min(
            content_images.get(key, (3, content_image, row.split)),
            (rank, content_image, row.split),
            key=lambda one: one[0],
        )
    shared = [name for name, splits in files.items() if len(splits) > 1]
    if shared:
        report.errors.append(f"{len(shared):,} pictures are in more than one split, the first {shared[0]}")
    leaked = [content for (_, content), splits in contents.items() if len(splits) > 1]
    if leaked:
        report.errors.append(f"{len(leaked):,} contents are in more than one split, the first {leaked[0]!r}")
    known = [(path, split) for _, path, split in content_images.values() if path in seen]
    pairs = near_duplicate_problems(
        [p for p, _ in known], [seen[p].hash for p, _ in known], [split for _, split in known]
    )
    if pairs:
        report.notes.append(f"{len(pairs):,} near-duplicates across splits:")
        report.notes += [f"  {pair.name} ({pair.detail})" for pair in pairs]


def summary(rows: Sequence[Sample]) -> list[str]:
    """Lines for the terminal: rows by split and task, classes by severity, winners, and a histogram of ratings."""
    lines = [f"{name:24} {count:8,}" for name, count in sorted(Counter(f"{r.split}/{r.task}" for r in rows).items())]
    damaged = Counter((row.truth["distortion"], row.truth["severity"]) for row in rows if "severity" in row.truth)
    if damaged:
        lines += ["", f"{'':12}" + "".join(f"{severity:>13}" for severity in SEVERITIES)]
        for kind in CLASSES:
            cells = [damaged[kind, severity] for severity in ((NULL,) if kind == NULL else SEVERITIES)]
            lines.append(f"{kind:12}" + "".join(f"{cell:13,}" for cell in cells))
    winners = Counter(row.truth["winner"] for row in rows if "winner" in row.truth)
    if winners:
        lines += ["", *(f"{winner:24} {count:8,}" for winner, count in sorted(winners.items()))]
    ratings = [row.truth[number] for row in rows if (number := TASKS[row.task].number)]
    return [*lines, "", *histogram(ratings)] if ratings else lines


def histogram(ratings: Sequence[float], width: int = 40) -> list[str]:
    """One line per half rating from 1 to 5; bars are scaled to the largest bin."""
    counts = Counter(min(BINS - 1, int((value - 1.0) * 2)) for value in ratings)
    most = max(counts.values())
    lines = []
    for index in range(BINS):
        bar = "█" * round(width * counts[index] / most)
        lines.append(f"{1 + index / 2:.1f}-{1.5 + index / 2:.1f} {counts[index]:8,} {bar}".rstrip())
    return lines
