"""What every reader returns: the labels of a dataset as its authors wrote them; and the checks of these labels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import score

LONGEST_SHOWN = 40  # characters of a label in a message


@dataclass(frozen=True)
class Published:
    """A published dataset, and the label files that identify its folder.

    title       its published name
    signs       patterns of label files that only this dataset has, the best known first
    help        one line of `qinsight prepare --help`
    first_line  what the first line of its label file must contain, if the file name is not distinctive
    """

    title: str
    signs: tuple[str, ...]
    help: str
    first_line: str = ""


@dataclass(frozen=True)
class Label:
    """One row of a label file, before its pictures are located.

    id       unique in the dataset
    images   role -> name as in the label file, possibly with folders
    raw      the original label
    where    file and line, for messages
    truth    the truth fields; None for a score whose rating follows from `raw` and the scale
    split    the official split, or ""
    content  rows of the same content stay in the same split: the reference, or "" for the picture itself
    extra    further fields of the manifest row
    """

    id: str
    images: Mapping[str, str]
    raw: Any
    where: str
    truth: Mapping[str, Any] | None = None
    split: str = ""
    content: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """The range and direction of the labels of a dataset.

    With `exact` the stated range is the scale; otherwise the extremes of all labels are, as in the paper.
    """

    lowest: float
    highest: float
    higher_better: bool = True
    exact: bool = False


@dataclass(frozen=True)
class Labelled:
    """A dataset as described by its label files.

    root        folder to search for the pictures
    test_share  share of the content that goes to "test" if there is no official split
    folders     in order of preference, for pictures with the same name
    left_out    pictures whose labels the reader skipped on purpose
    notes       what a user should know, one sentence each
    card        further fields of the dataset card
    """

    name: str
    task: str
    root: Path
    labels: Sequence[Label]
    scale: Scale | None = None
    test_share: float = 1.0
    folders: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


def root_of(source: Path) -> Path:
    """Where to search for the pictures of a dataset that is given as its folder or as its label file."""
    return source if source.is_dir() else source.parent


def split_of(path: Path) -> str:
    """The split that the name of a label file begins with, "train" or "test"; else ""."""
    return next((split for split in ("train", "test") if path.name.startswith(split)), "")


def score_labels(name: str, source: Path, labels: Iterable[Label], scale: Scale, **more: Any) -> Labelled:
    """A rated dataset in a folder, or beside a label file. `more` are further fields of `Labelled`."""
    return Labelled(name, score.TASK.name, root_of(source), unique(labels), scale, **more)


def rated(where: str, name: str, label: object, scale: Scale, reference: str = "", split: str = "") -> Label:
    """The row of one rated picture, known by its file name; its content is the reference, if there is one.

    Raises QInsightError for a label that is no number of the scale.
    """
    images = {"image": name, "reference": reference} if reference else {"image": name}
    raw = number(label, scale, where, name)
    return Label(stem(name), images, raw, where, split=split, content=stem(reference) if reference else "")


def number(text: object, scale: Scale | None, where: str, name: str) -> float:
    """A label as a finite number in the stated range. Raises QInsightError naming the row."""
    try:
        value = math.nan if "_" in str(text) else float(text)  # type: ignore[arg-type]  # 1_000 is no label
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        shown = repr(text) if len(str(text)) <= LONGEST_SHOWN else f"{str(text)[:LONGEST_SHOWN]!r}..."
        raise QInsightError(f"{where}: the label of {name!r} is {shown}, not a number; correct or remove the row")
    if scale is not None and math.isfinite(scale.highest - scale.lowest):
        value = _within_rounding(value, scale)
    if scale is not None and not scale.lowest <= value <= scale.highest:
        raise QInsightError(
            f"{where}: the label of {name!r} is {value:g}, outside [{scale.lowest:g}, {scale.highest:g}]; "
            "correct the row, or is it another dataset's file?"
        )
    return value


def _within_rounding(value: float, scale: Scale) -> float:
    """Move a label that misses an end of the scale by a rounding error, such as 1.0000000001, to that end."""
    slack = 1e-6 * (scale.highest - scale.lowest)
    if scale.lowest - slack <= value < scale.lowest:
        return scale.lowest
    if scale.highest < value <= scale.highest + slack:
        return scale.highest
    return value


def unique(labels: Iterable[Label]) -> list[Label]:
    """The labels as a list. Raises QInsightError naming both rows if an id appears twice."""
    first: dict[str, str] = {}
    found = list(labels)
    for label in found:
        if label.id in first:
            raise QInsightError(
                f"{label.where}: {label.id!r} is labelled twice, first in {first[label.id]}; remove one"
            )
        first[label.id] = label.where
    return found


def digest(labels: Iterable[Label]) -> str:
    """SHA-256 of the labels in their order, without their places in the files."""
    hashed = hashlib.sha256()
    for label in labels:
        fields = {name: value for name, value in vars(label).items() if name != "where"}
        hashed.update(json.dumps(fields, sort_keys=True, default=dict).encode() + b"\n")
    return hashed.hexdigest()


def extremes(labelled: Labelled) -> tuple[float, float]:
    """The lowest and highest label, the ends of the scale. Raises QInsightError if all labels are equal."""
    assert labelled.scale is not None
    if labelled.scale.exact:
        return labelled.scale.lowest, labelled.scale.highest
    values = [label.raw for label in labelled.labels]
    if not values or min(values) == max(values):
        raise QInsightError(
            f"{labelled.name}: all {len(values)} labels are the same; there is nothing to scale them by"
        )
    return min(values), max(values)


def rating(value: float, lowest: float, highest: float, higher_better: bool = True) -> float:
    """A label -> rating in [1, 5], higher better: 4 * (mos - min) / (max - min) + 1, rounded to 4 decimals."""
    share = (value - lowest) / (highest - lowest)
    return round(4.0 * (share if higher_better else 1.0 - share) + 1.0, 4)


def stem(name: str) -> str:
    """The file name without folders and extension; both separators are accepted."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].rpartition(".")[0] or name
