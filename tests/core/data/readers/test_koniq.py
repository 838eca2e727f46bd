from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from qinsight_cli.core.data.problems import MISSING, UNLABELLED
from qinsight_cli.core.data.readers import koniq
from qinsight_cli.core.errors import QInsightError

OFFICIAL, OLD = "koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"
HEADER = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set")
OLD_HEADER = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "MOS_zscore")


def row(name: str, mos: object, last: object) -> tuple[object, ...]:
    return (name, 0, 0, 0, 1, 0, 100, mos, 0.5, last)


def test_the_authors_file_gives_the_official_split_and_the_known_mos(data_dir: Path, tmp_path: Path, prepared) -> None:
    source = tmp_path / "koniq"
    (source / "1024x768").mkdir(parents=True)
    shutil.copy(data_dir / "labels" / OFFICIAL, source)
    shutil.copy(data_dir / "samples" / "6898804586.jpg", source / "1024x768")
    labelled = koniq.read(source)
    assert pd.Series([label.split for label in labelled.labels]).value_counts().to_dict() == {
        "train": 7058,
        "validation": 1000,
        "test": 2015,
    }
    rows, card, problems = prepared(labelled, skip_bad=True)
    frame = pd.read_csv(data_dir / "labels" / OFFICIAL).set_index("image_name")
    mos = frame.MOS["6898804586.jpg"]
    expected = 4 * (mos - frame.MOS.min()) / (frame.MOS.max() - frame.MOS.min()) + 1
    (sample,) = rows.values()
    assert round(sample.raw_label, 2) == 32.71
    assert sample.truth["rating"] == pytest.approx(expected, abs=1e-4)
    assert (sample.files["image"].width, sample.files["image"].height) == (1024, 768)
    assert card["label"]["range"] == [pytest.approx(3.91, abs=0.01), pytest.approx(88.39, abs=0.01)]
    assert sum(problem.kind == MISSING for problem in problems) == 10_072


def test_the_older_file_is_on_1_to_5_and_split_by_content(tmp_path: Path, table, draw, prepared) -> None:
    table(tmp_path / "k" / OLD, OLD_HEADER, [row(f"{i}.jpg", 1 + i / 10, 0) for i in range(30)])
    for i in range(30):
        draw(tmp_path / "k" / "512x384" / f"{i}.jpg", i)
    rows, card, _ = prepared(koniq.read(tmp_path / "k"))
    assert rows["0"].truth["rating"] == 1.0
    assert rows["29"].truth["rating"] == 5.0
    assert rows["15"].raw_label == 2.5
    assert {sample.split for sample in rows.values()} == {"train", "test"}
    assert card["split"] == "by content"


def test_both_sizes_at_hand(tmp_path: Path, table, draw, prepared) -> None:
    table(tmp_path / "k" / OFFICIAL, HEADER, [row("a.jpg", 10, "training"), row("b.jpg", 20, "test")])
    for size in koniq.SIZES:
        for number, name in enumerate(("a.jpg", "b.jpg", "extra.jpg")):
            draw(tmp_path / "k" / size / name, number)
    rows, _, problems = prepared(koniq.read(tmp_path / "k"))
    assert rows["a"].images["image"].parent.name == "1024x768"
    assert [(p.kind, p.name) for p in problems] == [(UNLABELLED, "1024x768/extra.jpg")]
    rows, _, _ = prepared(koniq.read(tmp_path / "k", "512x384"))
    assert rows["a"].images["image"].parent.name == "512x384"
    assert (rows["a"].split, rows["b"].split) == ("train", "test")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("a.jpg", "nan", "test")], "line 2: the label of 'a.jpg' is 'nan', not a number"),
        ([row("a.jpg", "", "test")], "line 2: the label of 'a.jpg' is '', not a number"),
        ([row("a.jpg", 101, "test")], "line 2: the label of 'a.jpg' is 101, outside [0, 100]"),
        ([row("a.jpg", 1, "test"), row("a.jpg", 2, "test")], "line 3: 'a' is labelled twice, first in"),
        ([row("a.jpg", 1, "dev")], "line 2: the set of 'a.jpg' is 'dev'"),
    ],
)
def test_bad_labels(rows: list, words: str, tmp_path: Path, table) -> None:
    table(tmp_path / OFFICIAL, HEADER, rows)
    with pytest.raises(QInsightError, match=re.escape(words)):
        koniq.read(tmp_path)


def test_a_size_that_is_not_there(tmp_path: Path, table) -> None:
    table(tmp_path / OFFICIAL, HEADER, [row("a.jpg", 1, "test")])
    with pytest.raises(QInsightError, match="no folder 512x384"):
        koniq.read(tmp_path, "512x384")
