from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qinsight_cli.core.data.check import CheckReport, check_dataset, histogram, summary
from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.data.readers.csv_table import Columns, read
from qinsight_cli.core.errors import QInsightError


@pytest.fixture
def dataset(tmp_path: Path, table, draw, prepared) -> Path:
    rows = [(f"p{i:02d}.png", i) for i in range(40)]
    for number, (name, _) in enumerate(rows):
        draw(tmp_path / "set" / name, number)
    prepared(read(table(tmp_path / "set/t.csv", ("file", "score"), rows), Columns("file", "score"), "mine"), copy=True)
    return tmp_path / "out"


def examine(folder: Path, quick: bool = False) -> CheckReport:
    return check_dataset(folder, 1, quick, lambda total: lambda: None)


def change(folder: Path, manifest: str, line: int, **fields: object) -> None:
    path = folder / f"{manifest}.jsonl"
    lines = path.read_text().split("\n")
    row = {**json.loads(lines[line]), **fields}
    lines[line] = json.dumps({name: value for name, value in row.items() if value is not ...})
    path.write_text("\n".join(lines))


def test_a_sound_dataset(dataset: Path) -> None:
    report = examine(dataset)
    assert report.errors == []
    assert report.notes == []
    assert len(report.rows) == 40
    assert examine(dataset, quick=True).errors == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rating": 5.5}, 'train.jsonl, line 3: "rating" is 5.5'),
        ({"rating": ...}, 'train.jsonl, line 3: "rating" is None'),
        ({"task": "beauty"}, "train.jsonl, line 3: unknown task 'beauty'"),
        ({"split": "test"}, "train.jsonl, line 3: the row's split is 'test'"),
        ({"images": {}}, "train.jsonl, line 3: a score row needs the image 'image'"),
        ({"images": ...}, "train.jsonl, line 3: the field 'images' is missing"),
        ({"id": "p00.png"}, "the id 'p00.png' appears twice"),
        ({"images": {"image": "images/gone.png"}}, "images/gone.png: no such file"),
        ({"images": {"image": "/images/gone.png"}}, "train.jsonl, line 3: an absolute path"),
        ({"files": {"image": {"sha256": "0", "width": 18, "height": 16}}}, "was changed since"),
        ({"files": {"image": {"sha256": "0"}}}, "train.jsonl, line 3: "),
    ],
)
def test_a_row_that_is_wrong(fields: dict, words: str, dataset: Path) -> None:
    change(dataset, "train", 2, **fields)
    errors = examine(dataset).errors
    assert any(words in error for error in errors), errors
    assert any("train.jsonl is not the file" in error for error in errors)


def test_files_that_changed(dataset: Path, draw) -> None:
    first, second, third = sorted((dataset / "images").iterdir())[:3]
    draw(first, 900)
    second.write_bytes(b"")
    third.unlink()
    errors = examine(dataset).errors
    assert len(errors) == 3
    assert sum(f"{first} is not the picture that was prepared" in error for error in errors) == 1
    assert sum(f"{second}: the file is empty" in error for error in errors) == 1
    assert sum(f"{third}: no such file" in error for error in errors) == 1
    assert examine(dataset, quick=True).errors == [f"no such picture: {third}"]


def test_the_card(dataset: Path) -> None:
    card = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({**card, "unfinished": True}))
    assert any("unfinished" in error for error in examine(dataset).errors)
    (dataset / "test.jsonl").unlink()
    assert "test.jsonl is missing" in examine(dataset).errors
    (dataset / "dataset.json").unlink()
    assert any("dataset.json is missing" in error for error in examine(dataset).errors)


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match="holds no manifest"):
        examine(tmp_path)


def test_leaks(tmp_path: Path, draw) -> None:
    a, b, c = (draw(tmp_path / f"{name}.png", number) for number, name in enumerate("abc"))
    same = draw(tmp_path / "same.png", 0)
    near = draw(tmp_path / "near.png", 1, (90, 80))
    rows = [
        Sample("1", "score", "train", "mine", {"image": a}, {"rating": 3.0}),
        Sample("2", "score", "test", "mine", {"image": same}, {"rating": 3.0}),
        Sample("3", "score", "train", "mine", {"image": b}, {"rating": 3.0}),
        Sample("4", "score", "test", "mine", {"image": near}, {"rating": 3.0}),
        Sample("5", "score", "test", "mine", {"image": c}, {"rating": 3.0}, extra={"content": "x"}),
        Sample(
            "6",
            "score",
            "train",
            "mine",
            {"image": draw(tmp_path / "d.png", 9)},
            {"rating": 3.0},
            extra={"content": "x"},
        ),
    ]
    write_dataset(tmp_path / "out", rows, {"name": "mine"})
    report = examine(tmp_path / "out")
    assert len(report.errors) == 2
    assert "1 pictures are in more than one split" in report.errors[0]
    assert "1 contents are in more than one split, the first 'x'" in report.errors[1]
    assert any("near.png | b.png (test and train, 0 of 64 bits differ)" in note for note in report.notes)
    assert any("6 pictures have no recorded hash" in note for note in report.notes)


def test_the_histogram_counts_as_numpy_does() -> None:
    ratings = [*np.random.default_rng(0).uniform(1, 5, 500).round(2).tolist(), 1.0, 1.5, 5.0]
    expected = np.histogram(ratings, bins=np.arange(1, 5.01, 0.5))[0]
    lines = histogram(ratings)
    assert [int(line.split()[1]) for line in lines] == expected.tolist()
    assert [line.split()[0] for line in lines][::7] == ["1.0-1.5", "4.5-5.0"]
    assert max(line.count("█") for line in lines) == 40


def test_the_summary_counts_everything(tmp_path: Path) -> None:
    image = {"image": tmp_path / "a.png"}
    rows = [
        Sample("1", "degradation", "train", "x", image, {"distortion": "blur", "severity": "serious"}),
        Sample("2", "degradation", "train", "x", image, {"distortion": "null", "severity": "null"}),
        Sample("3", "comparison", "test", "x", image, {"winner": "Similar"}),
        Sample("4", "score", "test", "x", image, {"rating": 1.2}),
    ]
    text = "\n".join(summary(rows))
    assert "train/degradation" in text
    (blur,) = (line for line in text.split("\n") if line.startswith("blur"))
    assert blur.split() == ["blur", "0", "0", "0", "1", "0"]
    (null,) = (line for line in text.split("\n") if line.startswith("null"))
    assert null.split() == ["null", "1"]
    assert "Similar" in text
    assert "1.0-1.5" in text
