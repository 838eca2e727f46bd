"""BIQ2021 (Ahmed and Asif, 2022): 12,000 camera photos of 512x512 with MOS 0-1 from 30 raters, higher better.

Original layout: `Images/` with names such as `ss01 (1).jpg`, and `Train (Images and MOS).csv` and
`Test (Images and MOS).csv`, each `Image Name,MOS,,` with two empty columns. One name differs from its file in case.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from qinsight_cli.core import explain
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.manifest import Sample
from qinsight_cli.core.similar import difference_hash, groups, split_by_group

TABLES = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


@dataclass(frozen=True)
class Rated:
    """A label row: the image file, the MOS in [0, 1], and the official split it stands in."""

    path: Path
    mos: float
    official: str


def read_labels(folder: Path) -> tuple[list[Rated], list[str]]:
    """The labelled images of a BIQ2021 folder, and the names of label rows whose image is not there.

    Raises QInsightError when neither table is there, a header is another dataset's, or a MOS is not a number in [0, 1].
    """
    tables = {split: folder / name for split, name in TABLES.items() if (folder / name).is_file()}
    if not tables:
        raise QInsightError(f"{folder} is not BIQ2021: it has no {TABLES['train']!r}")
    files = {path.name.lower(): path for path in (folder / "Images").glob("*")}
    rated, missing = [], []
    for split, table in tables.items():
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
        if not rows or [cell.strip() for cell in rows[0][:2]] != ["Image Name", "MOS"]:
            raise QInsightError(f"{table}: the header is not 'Image Name,MOS'; is it BIQ2021's?")
        for number, row in enumerate(rows[1:], 2):
            if not any(cell.strip() for cell in row):
                continue
            mos = _mos(row, table, number)
            path = files.get(row[0].strip().lower())
            if path is None:
                missing.append(row[0])
            else:
                rated.append(Rated(path, mos, split))
    if not rated:
        raise QInsightError(f"{folder}/Images holds none of the labelled images")
    return rated, missing


def _mos(row: list[str], table: Path, number: int) -> float:
    try:
        mos = float(row[1])
    except (ValueError, IndexError):
        mos = float("nan")
    if not 0.0 <= mos <= 1.0:
        raise QInsightError(f"{table}, line {number}: the MOS of {row[0]!r} is not a number in [0, 1]")
    return mos


def prepare(
    rated: list[Rated],
    *,
    reasoning: bool,
    test_share: float,
    seed: int,
    workers: int,
    progress: Callable[[], None],
) -> tuple[list[Sample], list[str]]:
    """Rows with ratings in [1, 5], and a line for each picture that cannot be read.

    With both official tables the official split is kept. With one, `test_share` of the content is held out: pictures of
    one scene (by perceptual hash) stay together.
    """
    lowest, highest = min(item.mos for item in rated), max(item.mos for item in rated)
    with ProcessPoolExecutor(workers) as pool:
        looked = []
        for result in pool.map(partial(_look, reasoning, seed, lowest, highest), rated, chunksize=32):
            progress()
            looked.append(result)
    bad = [result for result in looked if isinstance(result, str)]
    good = [(item, result) for item, result in zip(rated, looked, strict=True) if not isinstance(result, str)]
    splits = [item.official for item, _ in good]
    if len(set(splits)) == 1:
        hashes = [hashed for _, (hashed, _) in good]
        splits = split_by_group(groups(hashes), [item.path.name for item, _ in good], test_share, seed)
    samples = [
        Sample(
            id=item.path.stem,
            task="score",
            split=split,
            source="biq2021",
            images={"image": item.path},
            truth={"rating": normalise(item.mos, lowest, highest)},
            raw_label=item.mos,
            reasoning=said,
        )
        for (item, (_, said)), split in zip(good, splits, strict=True)
    ]
    return samples, bad


def normalise(mos: float, lowest: float, highest: float) -> float:
    """MOS -> rating in [1, 5] with the extremes of the whole dataset, as the paper and its sources do."""
    return round(4.0 * (mos - lowest) / (highest - lowest) + 1.0, 4)


def _look(reasoning: bool, seed: int, lowest: float, highest: float, item: Rated) -> tuple[int, str] | str:
    try:
        image = load_image(item.path).image
    except ImageError as error:
        return f"{item.path.name}: {error}"
    said = ""
    if reasoning:
        rng = np.random.default_rng([seed, *item.path.name.encode()])
        said = explain.describe(explain.measure(image), rng, rating=normalise(item.mos, lowest, highest))
    return difference_hash(image), said
