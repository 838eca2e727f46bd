from __future__ import annotations

import csv
from pathlib import Path

import pytest

from qinsight_cli.core.data import problems
from qinsight_cli.core.data.problems import BROKEN, MISSING, SIMILAR, UNLABELLED, Problem
from qinsight_cli.core.errors import QInsightError

SOME = [
    Problem(MISSING, "a,\n.png", "image of t.csv, line 2"),
    Problem(BROKEN, "b.png", "the file is empty"),
    Problem(UNLABELLED, "c.png", "no label row names it"),
]


def test_the_file_has_all_and_goes_when_there_is_none(tmp_path: Path) -> None:
    problems.write_problems(tmp_path, SOME)
    with (tmp_path / problems.FILE).open(newline="") as file:
        assert [Problem(*row) for row in list(csv.reader(file))[1:]] == SOME
    problems.write_problems(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    problems.write_problems(tmp_path, [])


def test_missing_and_broken_pictures_fail(tmp_path: Path) -> None:
    words = r"^1 missing image and 1 broken image in 9 rows, the first 'a,\\n.png' .*problems\.csv: .*--skip-bad$"
    with pytest.raises(QInsightError, match=words):
        problems.refuse_bad_images(tmp_path, SOME, "9 rows", skip_bad=False)
    problems.refuse_bad_images(tmp_path, SOME, "9 rows", skip_bad=True)
    problems.refuse_bad_images(tmp_path, SOME[2:], "9 rows", skip_bad=False)


def test_near_duplicates_across_splits() -> None:
    paths = [Path("x/a.png"), Path("x/b.png"), Path("x/c.png")]
    (found,) = problems.near_duplicate_problems(paths, [0b1111, 0b1101, 0b1100], ["train", "train", "test"])[:1]
    assert found == Problem(SIMILAR, "a.png | c.png", "train and test, 2 of 64 bits differ")


def test_counts() -> None:
    assert problems.count_by_kind(SOME) == {MISSING: 1, BROKEN: 1, UNLABELLED: 1, SIMILAR: 0}
