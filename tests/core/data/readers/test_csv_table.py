from __future__ import annotations

from pathlib import Path

import pytest

from qinsight_cli.core.data.readers.csv_table import Columns, read
from qinsight_cli.core.errors import QInsightError

COLUMNS = Columns("file", "score", "clean")


@pytest.fixture
def scores(tmp_path: Path, table, draw) -> Path:
    """Four rows, two references, scores 3-9 on a scale of 0-10; pictures of one name in two folders."""
    rows = [("a/x.png", 3, "r1.png"), ("b/x.png", 5, "r1.png"), ("a/y.png", 9, "r2.png"), ("b/y.png", 7, "")]
    for number, name in enumerate([*(row[0] for row in rows), "r1.png", "r2.png"]):
        draw(tmp_path / "t" / name, number)
    return table(tmp_path / "t/scores.csv", ("file", "score", "clean", "more"), [(*row, "-") for row in rows])


def test_the_extremes_of_the_table_are_the_scale(scores: Path, prepared) -> None:
    rows, card, _ = prepared(read(scores, COLUMNS, "mine"))
    assert {name: row.truth["rating"] for name, row in rows.items()} == {
        "a/x.png": 1.0,
        "b/x.png": pytest.approx(4 * 2 / 6 + 1, abs=1e-4),
        "a/y.png": 5.0,
        "b/y.png": pytest.approx(4 * 4 / 6 + 1, abs=1e-4),
    }
    assert rows["b/x.png"].images["image"].parent.name == "b"
    assert rows["a/x.png"].split == rows["b/x.png"].split
    assert card["columns"] == {"image": "file", "label": "score", "reference": "clean"}


def test_or_the_range_stated(scores: Path, prepared) -> None:
    rows, card, _ = prepared(read(scores, COLUMNS, "mine", label_range=(0, 10), lower_is_better=True))
    assert rows["a/x.png"].truth["rating"] == pytest.approx(5 - 4 * 0.3)
    assert rows["a/y.png"].truth["rating"] == pytest.approx(5 - 4 * 0.9)
    assert card["label"] == {"range": [0.0, 10.0], "higher_better": False}


def test_a_picture_of_the_same_name_elsewhere_is_not_taken(scores: Path, prepared) -> None:
    (scores.parent / "b/x.png").unlink()
    with pytest.raises(QInsightError, match=r"1 missing image in 4 label rows, the first 'b/x\.png'"):
        prepared(read(scores, COLUMNS, "mine"))


def test_bad_input(scores: Path, tmp_path: Path, table) -> None:
    with pytest.raises(QInsightError, match=r"outside \[4, 10\]"):
        read(scores, COLUMNS, "mine", label_range=(4, 10))
    with pytest.raises(QInsightError, match="give the lower end first"):
        read(scores, COLUMNS, "mine", label_range=(10, 0))
    with pytest.raises(QInsightError, match=r"has the columns file,score,clean,more, not picture,score"):
        read(scores, Columns("picture", "score"), "mine")
    with pytest.raises(QInsightError, match="is not a CSV file"):
        read(tmp_path, COLUMNS, "mine")


def test_labels_that_are_all_the_same(tmp_path: Path, table, draw, prepared) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / "t" / name, number)
    same = table(tmp_path / "t/same.csv", ("file", "score"), [("a.png", 2), ("b.png", 2)])
    with pytest.raises(QInsightError, match="all 2 labels are the same"):
        prepared(read(same, Columns("file", "score"), "mine"))


def test_an_image_named_twice_in_two_ways(tmp_path: Path, table, draw, prepared) -> None:
    draw(tmp_path / "t/a.png", 1)
    twice = table(tmp_path / "t/twice.csv", ("file", "score"), [("a.png", 2), ("A.PNG", 3)])
    with pytest.raises(QInsightError, match=r"line 3: the picture .* is labelled twice, first in twice\.csv, line 2"):
        prepared(read(twice, Columns("file", "score"), "mine"))
