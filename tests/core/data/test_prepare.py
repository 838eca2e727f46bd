"""The road from labels to rows, with tables of our own."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.data.labels import Labelled
from qinsight_cli.core.data.manifest import read_split
from qinsight_cli.core.data.prepare import PrepareSettings, prepare_dataset
from qinsight_cli.core.data.problems import BROKEN, MISSING, UNLABELLED
from qinsight_cli.core.data.readers.csv_table import Columns, read
from qinsight_cli.core.errors import QInsightError


@pytest.fixture
def hundred(tmp_path: Path, table, draw) -> Labelled:
    """100 pictures, two thirds of them with low scores."""
    rows = [(f"p{i:03d}.png", i if i % 3 else 60 + i / 3) for i in range(100)]
    for number, (name, _) in enumerate(rows):
        draw(tmp_path / "set/pictures" / name, number)
    return read(table(tmp_path / "set/t.csv", ("file", "score"), rows), Columns("file", "score"), "mine")


def content_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_run_twice_it_gives_the_same_bytes(hundred: Labelled, prepared, tmp_path: Path) -> None:
    prepared(hundred, reasoning=True)
    first = content_of(tmp_path / "out")
    assert set(first) == {"train.jsonl", "test.jsonl", "dataset.json"}
    prepared(hundred, reasoning=True, workers=2)
    assert content_of(tmp_path / "out") == first


def test_the_facts_of_each_picture_are_recorded(hundred: Labelled, prepared, tmp_path: Path) -> None:
    rows, card, _ = prepared(hundred)
    for row in rows.values():
        path, facts = row.images["image"], row.files["image"]
        assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        with Image.open(path) as opened:
            assert (facts.width, facts.height) == opened.size
    text = (tmp_path / "out/train.jsonl").read_bytes()
    assert card["sha256"]["train"] == hashlib.sha256(text).hexdigest()


def test_a_limit_is_stratified_and_seeded(hundred: Labelled, prepared, tmp_path: Path) -> None:
    rows, card, problems = prepared(hundred, limit=30, seed=5)
    assert len(rows) == 30
    assert card["limit"] == 30
    assert problems == []  # what was not drawn is not unlabelled
    everything, _, _ = prepared(hundred, out=tmp_path / "all")

    def fifths(found) -> Counter[int]:
        return Counter(min(4, int((row.truth["rating"] - 1) / 0.8)) for row in found.values())

    shares = fifths(everything)
    assert all(abs(count - 0.3 * shares[fifth]) < 1 for fifth, count in fifths(rows).items())
    again, _, _ = prepared(hundred, limit=30, seed=5, out=tmp_path / "again")
    other, _, _ = prepared(hundred, limit=30, seed=6, out=tmp_path / "other")
    assert set(again) == set(rows) != set(other)
    assert all(rows[name].truth == everything[name].truth for name in rows)  # scaled by the whole dataset


def test_all_that_is_missing_or_broken_is_told_at_once(hundred: Labelled, prepared, tmp_path: Path, draw) -> None:
    pictures = tmp_path / "set/pictures"
    for name in ("p001.png", "p050.png"):
        (pictures / name).unlink()
    (pictures / "p002.png").write_bytes((pictures / "p003.png").read_bytes()[:60])
    (pictures / "p004.png").write_text("no picture")
    draw(pictures / "stray.png", 500)
    with pytest.raises(QInsightError, match="2 missing images and 2 broken images in 100 label rows, the first 'p001"):
        prepared(hundred)
    with (tmp_path / "out/problems.csv").open(newline="") as file:
        told = [(row["kind"], row["name"]) for row in csv.DictReader(file)]
    assert sorted(told) == [
        (BROKEN, "pictures/p002.png"),
        (BROKEN, "pictures/p004.png"),
        (UNLABELLED, "pictures/stray.png"),
        (MISSING, "p001.png"),
        (MISSING, "p050.png"),
    ]
    assert not list((tmp_path / "out").glob("*.jsonl"))
    rows, card, _ = prepared(hundred, skip_bad=True)
    assert len(rows) == 96
    assert card["problems"] == {MISSING: 2, BROKEN: 2, UNLABELLED: 1, "near-duplicate": 0}


def test_the_report_goes_when_all_is_mended(hundred: Labelled, prepared, tmp_path: Path, draw) -> None:
    (tmp_path / "set/pictures/p001.png").rename(tmp_path / "p001.png")
    with pytest.raises(QInsightError, match="1 missing image in 100"):
        prepared(hundred)
    (tmp_path / "p001.png").rename(tmp_path / "set/pictures/p001.png")
    prepared(hundred)
    assert not (tmp_path / "out/problems.csv").exists()


def test_nothing_is_there(hundred: Labelled, prepared, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "set/pictures")
    with pytest.raises(QInsightError, match="holds none of the 100 labelled pictures"):
        prepared(hundred, skip_bad=True)


def test_a_dataset_can_be_moved_with_its_pictures(hundred: Labelled, prepared, tmp_path: Path) -> None:
    prepared(hundred, out=tmp_path / "set/prepared")
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = read_split(tmp_path / "moved/prepared", "train")
    assert all(row.images["image"].is_file() for row in moved)
    assert str(tmp_path) not in (tmp_path / "moved/prepared/train.jsonl").read_text()


def test_copies(hundred: Labelled, prepared, tmp_path: Path) -> None:
    prepared(hundred, copy=True)
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    found = read_split(tmp_path / "elsewhere", "train")
    assert found
    for row in found:
        path = row.images["image"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row.files["image"].sha256
        assert path.is_relative_to(tmp_path / "elsewhere/images")


def test_without_copy_no_picture_is_written(hundred: Labelled, prepared, tmp_path: Path) -> None:
    prepared(hundred)
    assert {path.suffix for path in (tmp_path / "out").rglob("*")} == {".jsonl", ".json"}


def test_the_same_rows_wherever_the_dataset_lies(hundred: Labelled, prepared, tmp_path: Path, table) -> None:
    here, _, _ = prepared(hundred)
    shutil.copytree(tmp_path / "set", tmp_path / "far/away/set")
    there = read(tmp_path / "far/away/set/t.csv", Columns("file", "score"), "mine")
    rows, _, _ = prepared(there, out=tmp_path / "far/out")
    assert {name: (row.split, row.truth) for name, row in rows.items()} == {
        name: (row.split, row.truth) for name, row in here.items()
    }


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_on_one_side(share: float, hundred: Labelled, prepared) -> None:
    rows, _, _ = prepared(hundred, test_share=share)
    assert {row.split for row in rows.values()} == {"test" if share else "train"}


def test_two_pictures_of_one_name_are_not_written_over_another(tmp_path: Path, table, draw, prepared) -> None:
    rows = [("a.png", 10), ("a.jpg", 20)]
    for number, (name, _) in enumerate(rows):
        draw(tmp_path / "s" / name, number, (90, 80))
    labelled = read(table(tmp_path / "s/t.csv", ("file", "score"), rows), Columns("file", "score"), "mine")
    with pytest.raises(QInsightError, match=r"both be written as .*a\.png"):
        prepared(labelled, short_side=40)


def test_an_interrupted_run_is_run_again_to_the_same_bytes(
    hundred: Labelled, prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(hundred, copy=True)
    whole = content_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    left = iter(range(30))

    def stop(_: object) -> object:
        return lambda: next(left)  # StopIteration after 30 pictures, as good as a power cut

    with pytest.raises((StopIteration, RuntimeError)):
        prepare_dataset(hundred, PrepareSettings(tmp_path / "out", copy=True), stop)
    assert not list((tmp_path / "out").glob("*.jsonl"))
    prepared(hundred, copy=True)
    assert content_of(tmp_path / "out") == whole
