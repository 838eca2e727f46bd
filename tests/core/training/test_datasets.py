"""Validation rows: a split of their own, or a slice of the training rows that shares no picture with the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.datasets import collect, set_aside


def row(folder: Path, number: int, split: str = "train", **more: Any) -> Sample:
    images = {"image": folder / f"{number}.png"}
    return Sample(f"r{number}", "score", split, folder.name, images, {"rating": 3.0}, **more)


def test_a_validation_split_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "koniq"
    rows = [row(folder, number) for number in range(50)]
    rows += [row(folder, number, "validation") for number in range(50, 60)]
    write_dataset(folder, [*rows, row(folder, 99, "test")], {"name": "koniq"})
    samples, data = collect([folder], ["score"])
    kept, validation, sources = set_aside(samples, data, ["score"], 42)
    assert [one.id for one in kept] == [f"r{number}" for number in range(50)]
    assert [one.id for one in validation] == [f"r{number}" for number in range(50, 60)]
    assert (sources[0]["split"], sources[0]["rows"]) == ("validation", 10)
    assert sources[0]["sha256"] != data[0]["sha256"]


def test_a_slice_keeps_all_rows_of_a_photo_together(tmp_path: Path) -> None:
    folder = tmp_path / "synth"
    rows = [
        row(folder, 10 * photo + number, extra={"content": f"photo{photo}"})
        for photo in range(200)
        for number in range(3)
    ]
    pairs = [pair(folder, f"pair{photo}", 10 * photo, 10 * photo + 1) for photo in range(200)]
    write_dataset(folder, [*rows, *pairs], {"name": "synth"})
    samples, data = collect([folder], ["score", "comparison"])
    kept, validation, _ = set_aside(samples, data, ["score", "comparison"], 42)
    photos = {one.extra["content"] for one in validation if one.task == "score"}
    assert 3 <= len(photos) <= 20  # 10 of 200, with a standard deviation of 3
    assert len(kept) + len(validation) <= len(samples)
    held = {path for one in validation for path in one.images.values()}
    assert not held & {path for one in kept for path in one.images.values()}
    assert not photos & {one.extra.get("content") for one in kept}
    again = set_aside(samples, data, ["score", "comparison"], 42)
    assert [one.id for one in again[1]] == [one.id for one in validation]
    assert [one.id for one in set_aside(samples, data, ["score"], 43)[1]] != [one.id for one in validation]


def pair(folder: Path, name: str, first: int, second: int) -> Sample:
    images: Mapping[str, Path] = {"image_a": folder / f"{first}.png", "image_b": folder / f"{second}.png"}
    return Sample(name, "comparison", "train", folder.name, images, {"winner": "Image A"})


def test_few_photos_give_one_and_a_single_photo_none(tmp_path: Path) -> None:
    for count, expected in ((5, 1), (1, 0)):
        folder = tmp_path / f"of{count}"
        write_dataset(folder, [row(folder, number) for number in range(count)], {"name": folder.name})
        samples, data = collect([folder], ["score"])
        kept, validation, _ = set_aside(samples, data, ["score"], 42)
        assert (len(kept), len(validation)) == (count - expected, expected)


def test_each_dataset_gives_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_dataset(folder, [row(folder, number) for number in range(40)], {"name": folder.name})
    samples, data = collect(folders, ["score"])
    kept, validation, sources = set_aside(samples, data, ["score"], 42)
    assert {one.source for one in validation} == {"a", "b"}
    assert len(kept) + len(validation) == 80
    assert [one["rows"] for one in sources] == [sum(v.source == name for v in validation) for name in ("a", "b")]


def test_ids_that_two_datasets_share_are_two_rows(tmp_path: Path) -> None:
    """Two tables of one name give their rows the same ids and source: a validation row of one is none of the other."""
    folders = [tmp_path / "first" / "scores", tmp_path / "second" / "scores"]
    for folder in folders:
        write_dataset(folder, [row(folder, number) for number in range(40)], {"name": folder.name})
    more = [row(folders[1], number, "validation") for number in range(100, 105)]
    rows = [row(folders[1], number) for number in range(40)]
    write_dataset(folders[1], [*rows, *more], {"name": "scores"})
    samples, data = collect(folders, ["score"])
    kept, validation, _ = set_aside(samples, data, ["score"], 42)
    assert len(kept) + len(validation) == 80 + 5
    assert {one.images["image"] for one in kept} >= {folders[1] / f"{number}.png" for number in range(40)}


def test_a_dataset_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "d", [row(tmp_path / "d", 1)], {"name": "d"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QInsightError, match="is given twice"):
        collect([tmp_path / "d", Path("d")], ["score"])
