from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from qinsight_cli.core.data.readers import agiqa
from qinsight_cli.core.errors import QInsightError


def test_quality_is_the_label_and_not_alignment(data_dir: Path, tmp_path: Path, draw, prepared) -> None:
    shutil.copy(data_dir / "labels/agiqa3k_data.csv", tmp_path / "data.csv")
    draw(tmp_path / "images/AttnGAN_normal_000.jpg", 1)
    labelled = agiqa.read(tmp_path)
    assert len(labelled.labels) == 2982
    rows, card, _ = prepared(labelled, skip_bad=True)
    frame = pd.read_csv(tmp_path / "data.csv")
    row = rows["AttnGAN_normal_000"]
    assert row.raw_label == 0.965602553
    assert row.truth["rating"] == pytest.approx(4 * 0.965602553 / frame.mos_quality.max() + 1, abs=1e-4)
    assert card["label"]["range"] == [0.0, frame.mos_quality.max()]


def test_another_data_csv(tmp_path: Path, table) -> None:
    table(tmp_path / "data.csv", ("image", "score"), [("a.png", 1)])
    with pytest.raises(QInsightError, match="the header is 'image,score', not AGIQA-3K's 'name,mos_quality'"):
        agiqa.read(tmp_path)


def test_a_small_dataset(tmp_path: Path, table, draw, prepared) -> None:
    header = ("name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality", "mos_align", "std_align")
    rows = [(f"sd1.5_{i}.jpg", "a hat, on a cat", "", "", "", i, 0.1, 4 - i, 0.1) for i in range(5)]
    table(tmp_path / "AGIQA-3K/data.csv", header, rows)
    for number, row in enumerate(rows):
        draw(tmp_path / "AGIQA-3K/images" / row[0], number)
    found, _, problems = prepared(agiqa.read(tmp_path / "AGIQA-3K"))
    assert problems == []
    assert [row.truth["rating"] for row in found.values()] == [1, 2, 3, 4, 5]
