"""The training and validation rows of a run, from prepared datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.card import read_card
from qinsight_cli.core.data.manifest import DATA, Sample, find_datasets, read_split
from qinsight_cli.core.data.splits import draw_unit
from qinsight_cli.core.errors import QInsightError

VALIDATION = "validation"
VALIDATION_SHARE = 0.05  # share of the photos of a dataset without a validation split


def collect(
    folders: Sequence[Path] | None, wanted: Iterable[str], split: str = "train"
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Rows of the wanted tasks, and for each of their datasets its name, digest, folder, split and number of rows.

    folders  prepared datasets, or None for all under data/ that have a wanted task in this split
    wanted   tasks, or `task/source` names of a mix
    Raises QInsightError if there is no dataset, or one has no such rows.
    """
    tasks = {name.partition("/")[0] for name in wanted}
    if not folders:
        folders = find_datasets(tasks, split)
        if not folders:
            raise QInsightError(
                f"no dataset under {DATA}/ holds {', '.join(sorted(tasks))}; make one, "
                "for example: qinsight prepare synth PHOTOS, or give --data"
            )
    twice = [folder for folder, times in Counter(folder.resolve() for folder in folders).items() if times > 1]
    if twice:
        raise QInsightError(f"--data {twice[0]} is given twice: its rows would count twice; remove one")
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
    return read_card(folder).get("sha256", {}).get(split)


def set_aside(
    samples: Sequence[Sample], data: Sequence[Mapping[str, Any]], tasks: Iterable[str], seed: int
) -> tuple[list[Sample], list[Sample], list[dict[str, Any]]]:
    """Training rows from `collect` -> (training rows, validation rows, sources of the validation rows).

    A dataset with a validation split uses it. From any other a share of the training rows is held out: all rows of a
    photo together, the same for the same seed. Training and validation rows share no picture.
    """
    kept: list[Sample] = []
    validation: list[Sample] = []
    sources = []
    wanted, start = set(tasks), 0
    for one in data:
        folder, own = Path(one["folder"]), samples[start : start + one["rows"]]
        start += one["rows"]
        published = (folder / f"{VALIDATION}.jsonl").is_file()
        chosen = read_split(folder, VALIDATION, wanted) if published else []
        chosen = chosen or _slice(own, seed)
        ids = {(row.task, row.id) for row in chosen}  # an id is unique in its dataset, not among datasets
        kept += [row for row in own if (row.task, row.id) not in ids]
        validation += chosen
        digest = _digest(folder, VALIDATION) if published else one["sha256"]
        sources.append({**one, "sha256": digest, "split": VALIDATION, "rows": len(chosen)})
    held = {path for row in validation for path in row.images.values()}
    return [row for row in kept if not held & set(row.images.values())], validation, sources


def _slice(rows: Sequence[Sample], seed: int) -> list[Sample]:
    """The rows of a share of the photos, at least one; none if there is only one photo, which training needs."""
    photos = [str(row.extra.get("content") or next(iter(row.images.values())).name) for row in rows]
    draws = {photo: draw_unit(seed, f"validation:{photo}") for photo in photos}
    if len(draws) < 2:
        return []
    share = max(VALIDATION_SHARE, min(draws.values()))
    return [row for row, photo in zip(rows, photos, strict=True) if draws[photo] <= share]
