"""From labels and pictures to checked manifest rows, for every dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.card import claimed
from qinsight_cli.core.data.inspect_images import ImageToInspect, InspectedImage, inspect_images
from qinsight_cli.core.data.labels import Label, Labelled, digest, extremes, rating
from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.data.names import distinct_names
from qinsight_cli.core.data.near_duplicates import near_duplicate_groups
from qinsight_cli.core.data.problems import (
    BROKEN,
    MISSING,
    UNLABELLED,
    Problem,
    count_by_kind,
    look_alike_problems,
    near_duplicate_problems,
    refuse_bad_images,
    write_problems,
)
from qinsight_cli.core.data.source_files import ImageFinder
from qinsight_cli.core.data.splits import draw_stratified, split_by_group
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import EXTENSIONS
from qinsight_cli.core.tasks import TASKS, Task


@dataclass(frozen=True)
class PrepareSettings:
    """How a dataset is prepared.

    out         the dataset folder
    test_share  share of the content to hold out if there is no official split; None for the dataset's default
    limit       draw this many rows, stratified by class, winner or rating
    quota       or this many of each official split
    skip_bad    skip rows whose pictures are missing or broken instead of failing
    copy        copy the pictures into the dataset folder
    reasoning   write a reasoning, computed from the picture
    short_side  scale pictures down to this many pixels on the short side
    force       replace a dataset that was prepared in another way, or has more rows
    """

    out: Path
    seed: int = 0
    test_share: float | None = None
    limit: int | None = None
    quota: Mapping[str, int] = field(default_factory=dict)
    skip_bad: bool = False
    copy: bool = False
    reasoning: bool = False
    short_side: int | None = None
    workers: int = 1
    force: bool = False


@dataclass(frozen=True)
class FoundLabel:
    """A label whose pictures were found. `images` has only the roles that were found."""

    label: Label
    images: Mapping[str, Path]
    truth: Mapping[str, Any]

    @property
    def picture(self) -> Path:
        """The picture that identifies a row without a content."""
        return next(iter(self.images.values()))


Progress = Callable[[int], Callable[[], None]]


def prepare_dataset(
    labelled: Labelled, options: PrepareSettings, progress: Progress
) -> tuple[dict[str, Any], list[Problem]]:
    """Inspect every picture, split, and write the dataset; returns its card and the problems found.

    progress  takes the number of pictures and returns the function to call after each
    Raises QInsightError if pictures are missing or broken and not to be skipped (problems.csv lists them all), or
    if no row is left.
    """
    card = _card(labelled, options)
    with claimed(options.out, card, options.force):
        samples, problems = _samples(labelled, options, progress)
        card["problems"] = count_by_kind(problems)
        return write_dataset(options.out, samples, card, options.force), problems


def _samples(labelled: Labelled, options: PrepareSettings, progress: Progress) -> tuple[list[Sample], list[Problem]]:
    """The rows of the dataset and the problems found, which are written too."""
    pictures = ImageFinder(labelled.root, labelled.folders, without=options.out)
    found, problems = _find(labelled, pictures, options)
    chosen = _draw(found, TASKS[labelled.task], options)
    paths = list(dict.fromkeys(path for row in chosen for path in row.images.values()))
    to_inspect = _images_to_inspect(paths, labelled.root, options)
    inspected = dict(zip(paths, inspect_images(to_inspect, options.workers, progress(len(paths))), strict=True))
    broken = {path: reason for path, reason in inspected.items() if isinstance(reason, str)}
    problems += [Problem(BROKEN, _relative_name(path, labelled.root), reason) for path, reason in broken.items()]
    seen = {path: result for path, result in inspected.items() if isinstance(result, InspectedImage)}
    usable = [row for row in (_without(row, broken, labelled.task) for row in chosen) if row is not None]
    splits, alike = _split(usable, seen, labelled, options)
    problems += alike + _near_duplicates(usable, seen, splits)
    write_problems(options.out, problems)
    refuse_bad_images(options.out, problems, f"{len(labelled.labels):,} label rows", options.skip_bad)
    if not usable:
        raise QInsightError(f"{labelled.root} holds none of the {len(labelled.labels):,} labelled pictures")
    scale = _scale(labelled)
    samples = [_sample(row, split, seen, labelled, scale, options) for row, split in zip(usable, splits, strict=True)]
    return samples, problems


def _find(
    labelled: Labelled, pictures: ImageFinder, options: PrepareSettings
) -> tuple[list[FoundLabel], list[Problem]]:
    """Labels with the pictures found for them, and the missing pictures and those that no label names."""
    number = TASKS[labelled.task].number
    ends = extremes(labelled) if labelled.scale else (0.0, 1.0)
    upward = labelled.scale is None or labelled.scale.higher_better
    found: list[FoundLabel] = []
    problems: dict[str, Problem] = {}
    used: dict[Path, str] = {}
    for label in labelled.labels:
        images = {role: _locate(name, pictures) for role, name in label.images.items()}
        there = {role: path for role, path in images.items() if path is not None}
        for role, name in label.images.items():
            if role not in there:
                problems.setdefault(name, Problem(MISSING, name, f"{role} of {label.where}"))
        if not _enough(there, label.images, labelled.task):
            continue
        path = there.get("image")
        if path is not None and path in used:
            raise QInsightError(
                f"{label.where}: the picture {path} is labelled twice, first in {used[path]}; remove one"
            )
        used |= {path: used.get(path, label.where) for path in there.values()}
        truth = label.truth if label.truth is not None else {number: rating(label.raw, *ends, upward)}
        found.append(FoundLabel(label, there, truth))
    passed = {path for name in labelled.left_out if (path := pictures.find(name)) is not None}
    folders = {path.parent for path in used}
    unlabelled = sorted(p for p in pictures if p.parent in folders and p not in used and p not in passed)
    named = [Problem(UNLABELLED, _relative_name(path, labelled.root), "no label row names it") for path in unlabelled]
    return found, [*problems.values(), *named]


def _locate(name: str, pictures: ImageFinder) -> Path | None:
    path = Path(name.replace("\\", "/")) if ".." in name else Path(name)
    if path.is_absolute() and path.is_file():
        return path
    if ".." in path.parts and (beside := Path(os.path.normpath(pictures.root / path))).is_file():
        return beside  # a table in labels/ that names ../images/a.png
    found = pictures.find(name)
    if found is None and path.suffix.lower() in EXTENSIONS and path.is_file():
        return path.resolve()  # as `score --csv` names it, from the working directory
    return found


def _enough(there: Mapping[str, Path], named: Iterable[str], task: str) -> bool:
    """Whether a row has its pictures. Only a comparison needs the reference that its row names."""
    known = TASKS[task]
    return set(there) >= {*known.roles, *(role for role in known.optional if role in named)}


def _without(row: FoundLabel, broken: Mapping[Path, str], task: str) -> FoundLabel | None:
    """The row without its broken pictures, or None if it needs one of them."""
    whole = {role: path for role, path in row.images.items() if path not in broken}
    return FoundLabel(row.label, whole, row.truth) if _enough(whole, row.images, task) else None


def _draw(found: Sequence[FoundLabel], task: Task, options: PrepareSettings) -> list[FoundLabel]:
    """Apply the quota of each official split, then the limit."""
    chosen = list(found)
    for split, count in options.quota.items():
        members = [row for row in chosen if row.label.split == split]
        drawn = {row.label.id for row in _drawn(members, task, count, options.seed)}
        chosen = [row for row in chosen if row.label.split != split or row.label.id in drawn]
    return chosen if options.limit is None else _drawn(chosen, task, options.limit, options.seed)


def _drawn(rows: Sequence[FoundLabel], task: Task, count: int, seed: int) -> list[FoundLabel]:
    strata = [(row.label.split, *task.stratum(row.truth)) for row in rows]
    return [rows[index] for index in draw_stratified([row.label.id for row in rows], strata, count, seed)]


def _images_to_inspect(paths: Sequence[Path], root: Path, options: PrepareSettings) -> list[ImageToInspect]:
    """What to do with each picture. Raises QInsightError if two would get the same name."""
    to_inspect = []
    for path in paths:
        to = options.out / "images" / _relative_name(path, root)
        scaled_to = to.with_suffix(".png") if options.short_side else None
        copy_to = to if options.copy else None
        to_inspect.append(ImageToInspect(path, copy_to, options.short_side, scaled_to, options.reasoning))
    for targets in ([one.copy_to for one in to_inspect], [one.scaled_to for one in to_inspect]):
        twice = [target for target, times in Counter(targets).items() if target and times > 1]
        if twice:
            raise QInsightError(f"two pictures would both be written as {twice[0]}; rename one")
    return to_inspect


def _split(
    rows: Sequence[FoundLabel], seen: Mapping[Path, InspectedImage], labelled: Labelled, options: PrepareSettings
) -> tuple[list[str], list[Problem]]:
    """The official split of each row, or one drawn by content: all rows of a reference, and of references that are
    near-duplicates, are in the same split. A row without a reference forms its own group. Also returns the large groups
    of pictures that look the same and were not kept together."""
    if all(row.label.split for row in rows):
        return [row.label.split for row in rows], []
    share = labelled.test_share if options.test_share is None else options.test_share
    name_of = distinct_names(row.picture for row in rows if not row.label.content)
    groups = [row.label.content or name_of[row.picture] for row in rows]
    content: dict[str, int | None] = {}
    for group, row in zip(groups, rows, strict=True):
        content.setdefault(group, seen[_content_image(row)].hash)
    names, hashes = list(content), list(content.values())
    side = dict(zip(names, split_by_group(near_duplicate_groups(hashes), names, share, options.seed), strict=True))
    alike = look_alike_problems(names, hashes) if 0.0 < share < 1.0 else []
    return [row.label.split or side[group] for group, row in zip(groups, rows, strict=True)], alike


def _near_duplicates(
    rows: Sequence[FoundLabel], seen: Mapping[Path, InspectedImage], splits: Sequence[str]
) -> list[Problem]:
    """Near-duplicates across splits; a reference represents its distorted versions."""
    side: dict[Path, str] = {}
    for row, split in zip(rows, splits, strict=True):
        side.setdefault(_content_image(row), split)
    return near_duplicate_problems(list(side), [seen[path].hash for path in side], list(side.values()))


def _content_image(row: FoundLabel) -> Path:
    """The picture that represents the content: the reference if there is one."""
    return row.images.get("reference") or row.picture


def _sample(
    row: FoundLabel,
    split: str,
    seen: Mapping[Path, InspectedImage],
    labelled: Labelled,
    scale: Mapping[str, Any],
    options: PrepareSettings,
) -> Sample:
    inspected = {role: seen[path] for role, path in row.images.items()}
    content = {"content": row.label.content} if row.label.content else {}
    return Sample(
        id=row.label.id,
        task=labelled.task,
        split=split,
        source=labelled.name,
        images={role: found.path for role, found in inspected.items()},
        files={role: found.facts for role, found in inspected.items()},
        truth=row.truth,
        raw_label=row.label.raw,
        reasoning=_reasoning(row, inspected, options) if options.reasoning else "",
        extra={**content, **scale, **row.label.extra},
    )


def _reasoning(row: FoundLabel, inspected: Mapping[str, InspectedImage], options: PrepareSettings) -> str:
    if "image" not in inspected:
        return ""
    measures = inspected["image"].measures
    assert measures is not None
    damage = (row.truth["distortion"], row.truth["severity"]) if "distortion" in row.truth else None
    from qinsight_cli.core.data.reasoning import describe_image  # OpenCV comes with an extra

    return describe_image(measures, damage)


def _scale(labelled: Labelled) -> dict[str, Any]:
    """The range and direction of the original labels, for rows and card."""
    if labelled.scale is None:
        return {}
    return {"label": {"range": list(extremes(labelled)), "higher_better": labelled.scale.higher_better}}


def _card(labelled: Labelled, options: PrepareSettings) -> dict[str, Any]:
    """What the dataset is made of. Unset options are left out."""
    card: dict[str, Any] = {"name": labelled.name, "task": labelled.task, "labels": len(labelled.labels)}
    card |= {"labels_digest": digest(labelled.labels), **_scale(labelled)}
    official = all(label.split for label in labelled.labels)
    share = labelled.test_share if options.test_share is None else options.test_share
    card |= {"split": "official" if official else "by content", "seed": options.seed}
    if not official:
        card["test_share"] = share
    named = ("limit", "quota", "short_side", "copy", "reasoning")
    card |= {name: value for name in named if (value := getattr(options, name))}
    return {**card, **labelled.card}


def _relative_name(path: Path, root: Path) -> str:
    """The path relative to the root, or the file name if the file is elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
