from __future__ import annotations

import json
from pathlib import Path

import pytest

from qinsight_cli.core.data.readers.records import read
from qinsight_cli.core.errors import QInsightError


def write(path: Path, *records: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(records)))
    return path


def test_deqa_score_files(tmp_path: Path, draw, prepared) -> None:
    """gt_score_norm is a rating already; numbers may be strings; the file's name is its split."""
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        draw(tmp_path / "Data/KONIQ/images" / name, number)
    metas = tmp_path / "Data/KONIQ/metas"
    write(
        metas / "train_koniq_7k.json",
        {"id": "a->1", "image": "KONIQ/images/a.jpg", "gt_score": 2.5, "gt_score_norm": "2.25", "std": 1},
        {"id": "b->1", "image": "KONIQ/images/b.jpg", "gt_score": "3.5", "gt_score_norm": 3.75},
    )
    write(metas / "test_koniq_2k.json", {"image": "KONIQ/images/c.jpg", "gt_score": 4, "gt_score_norm": 4.125})
    rows, card, problems = prepared(read([metas], "koniq", tmp_path / "Data"))
    assert problems == []
    assert {(row.split, row.truth["rating"]) for row in rows.values()} == {
        ("train", 2.25),
        ("train", 3.75),
        ("test", 4.125),
    }
    assert rows["KONIQ/images/b.jpg"].extra == {
        "gt_score": 3.5,
        "label": {"range": [1.0, 5.0], "higher_better": True},
    }
    assert card["label_field"] == "gt_score_norm"


def test_q_align_files(tmp_path: Path, draw, prepared) -> None:
    """Only gt_score, so its extremes over all files given are the scale."""
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        draw(tmp_path / "koniq" / name, number)
    train = write(
        tmp_path / "train.json", {"image": "koniq/a.jpg", "gt_score": "10"}, {"image": "koniq/b.jpg", "gt_score": 30}
    )
    test = write(tmp_path / "test.json", {"img_path": "koniq/c.jpg", "gt_score": "50"})
    rows, _, _ = prepared(read([train, test], "koniq", tmp_path))
    assert [row.truth["rating"] for row in rows.values()] == [5.0, 1.0, 3.0]
    assert rows["koniq/a.jpg"].raw_label == 10.0


def test_one_record_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"image": "a.jpg", "gt_score": 1}\n{"image": "b.jpg", "gt_score": 2}\n')
    assert [label.raw for label in read([path], "x").labels] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"image": "a.jpg", "gt_score_norm": 5.5}], r"'a\.jpg' is 5\.5, outside \[1, 5\]"),
        ([{"image": "a.jpg", "gt_score_norm": "good"}], "'good', not a number"),
        ([{"image": "a.jpg", "gt_score": None}], "None, not a number"),
        ([{"image": "a.jpg"}], r"'a\.jpg' has neither gt_score nor gt_score_norm"),
        ([{"gt_score": 1}], "record 1: the record has no image"),
        ([1, 2], "not a list of JSON records"),
        ([{"image": "a.jpg", "gt_score": 1}] * 2, "record 2: .* labelled twice"),
    ],
)
def test_bad_records(content: list, words: str, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    with pytest.raises(QInsightError, match=words):
        read([path], "x")


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(QInsightError, match="as JSON"):
        read([tmp_path], "x")
    (tmp_path / "a.json").unlink()
    with pytest.raises(QInsightError, match="no JSON files"):
        read([tmp_path], "x")
