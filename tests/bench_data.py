"""Small prepared datasets of every kind for the tests of the bench: grey pictures whose brightness is their quality."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.data.readers.srbench import GENERATION, ORIGINAL, REGRESSION, subsets

METHODS = (ORIGINAL, *REGRESSION, *GENERATION)


def grey(path: Path, level: int, width: int = 20) -> Path:
    """One grey picture of 16 rows; every (level, width) is another file by content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 16), (level,) * 3).save(path)
    return path


def scores(folder: Path, name: str, count: int = 12, **card: Any) -> Path:
    """Score rows whose ratings rise with brightness, but not in a straight line."""
    samples = []
    for index in range(count):
        level = round(20 + 215 * index / max(1, count - 1))
        path = grey(folder / "images" / f"{index:02d}.png", level, 20 + sum(map(ord, name)) % 7)
        rating = 1 + 4 * (index / max(1, count - 1)) ** 2
        samples.append(Sample(f"{index:02d}", "score", "test", name, {"image": path}, {"rating": rating}))
    write_dataset(folder, samples, {"name": name, **card})
    return folder


def degradations(folder: Path, name: str = "kadis", each: int = 3) -> Path:
    """Rows of every class; the darkened ones are dark, the others bright."""
    samples = []
    severities = ("slight", "serious", "catastrophic")
    for kind, (distortion, index) in enumerate(
        itertools.product(("noise", "blur", "compression", "darken", "null"), range(each))
    ):
        level = 30 + kind if distortion == "darken" else 120 + kind
        severity = "null" if distortion == "null" else severities[index % 3]
        path = grey(folder / "images" / f"{distortion}-{index}.png", level)
        truth = {"distortion": distortion, "severity": severity}
        samples.append(Sample(path.stem, "degradation", "test", name, {"image": path}, truth))
    write_dataset(folder, samples, {"name": name})
    return folder


def comparisons(folder: Path, contents: int = 2, name: str = "srbench") -> Path:
    """All pairs of the eleven pictures of each content, as SRIQA-Bench is prepared; MOS rises with brightness."""
    samples = []
    for content in (f"online{number}" for number in range(1, contents + 1)):
        paths = {
            method: grey(folder / "images" / f"{content}_{method}x4.png", 250 - 20 * place, 20 + len(content))
            for place, method in enumerate(METHODS)
        }
        mos = {method: 100.0 - 9 * place for place, method in enumerate(METHODS)}
        for pair in itertools.combinations(METHODS, 2):
            first, second = pair if len("".join(pair)) % 2 else pair[::-1]
            samples.append(
                Sample(
                    id=f"{content}-{first}-{second}",
                    task="comparison",
                    split="test",
                    source=name,
                    images={"image_a": paths[first], "image_b": paths[second]},
                    truth={"winner": "Image A" if mos[first] > mos[second] else "Image B"},
                    raw_label=[mos[first], mos[second]],
                    extra={"content": content, "methods": [first, second], "subsets": subsets(first, second)},
                )
            )
    write_dataset(folder, samples, {"name": name})
    return folder


def everything(folder: Path) -> None:
    """Datasets of all three tasks."""
    scores(folder / "koniq", "koniq")
    scores(folder / "biq2021", "biq2021", 7)
    degradations(folder / "kadis")
    comparisons(folder / "srbench")


def long_rows(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """(method, column, metric) -> the measured rows of a table in long form."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["measured"] == "yes"]
    return {(row["method"], row["column"], row["metric"]): row for row in rows}


def noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Random pixels, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
