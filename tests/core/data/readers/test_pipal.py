from __future__ import annotations

from pathlib import Path

import pytest

from qinsight_cli.core.data.readers import pipal
from qinsight_cli.core.errors import QInsightError


def test_one_text_for_each_reference(data_dir: Path, tmp_path: Path, draw, prepared) -> None:
    lines = (data_dir / "labels/pipal22_train.txt").read_text().split("\n")
    elo = {line.split(",")[0]: float(line.split(",")[1]) for line in lines if line.startswith(("A0001", "A0002"))}
    (tmp_path / "pipal/Train_Label").mkdir(parents=True)
    for number, reference in enumerate(("A0001", "A0002"), 500):
        text = "".join(f"{name},{value}\n" for name, value in elo.items() if name.startswith(reference))
        (tmp_path / f"pipal/Train_Label/{reference}.txt").write_text(text)
        draw(tmp_path / f"pipal/Train_Ref/{reference}.bmp", number)
    chosen = sorted(elo)[::20]
    for number, name in enumerate(chosen):
        draw(tmp_path / f"pipal/Distortion_{1 + number % 4}" / name, number)
    labelled = pipal.read(tmp_path / "pipal")
    assert len(labelled.labels) == len(elo) == 232
    rows, card, _ = prepared(labelled, skip_bad=True)
    assert {row.raw_label for row in rows.values()} == {elo[name] for name in chosen}
    assert rows["A0001_00_00"].raw_label == 1520.0648
    lowest, highest = min(elo.values()), max(elo.values())
    assert rows["A0001_00_00"].truth["rating"] == pytest.approx(
        4 * (1520.0648 - lowest) / (highest - lowest) + 1, abs=1e-4
    )
    assert rows["A0001_00_00"].images["reference"].name == "A0001.bmp"
    assert card["counts"] == {"test/score": len(chosen)}


def test_one_text_with_all_lines(data_dir: Path) -> None:
    labelled = pipal.read(data_dir / "labels/pipal22_train.txt")
    assert len(labelled.labels) == 23_199 + 1
    assert len({label.content for label in labelled.labels}) == 200


def test_a_line_without_a_label(tmp_path: Path) -> None:
    (tmp_path / "A0001.txt").write_text("A0001_00_00.bmp\n")
    with pytest.raises(QInsightError, match=r"A0001.txt, line 1: .* fewer than 2 columns"):
        pipal.read(tmp_path)


def test_a_small_dataset(tmp_path: Path, draw, prepared) -> None:
    (tmp_path / "Train_Label").mkdir()
    (tmp_path / "Train_Label/A0001.txt").write_text("A0001_00_00.bmp,1500\nA0001_00_01.bmp,1300\n")
    (tmp_path / "Train_Label/A0002.txt").write_text("A0002_00_00.bmp,1400.0\n")
    names = ("Distortion_1/A0001_00_00.bmp", "Distortion_2/A0001_00_01.bmp", "Distortion_1/A0002_00_00.bmp")
    for number, name in enumerate((*names, "Train_Ref/A0001.bmp", "Train_Ref/A0002.bmp")):
        draw(tmp_path / name, number)
    rows, _, problems = prepared(pipal.read(tmp_path))
    assert problems == []
    assert [row.truth["rating"] for row in rows.values()] == [5.0, 1.0, 3.0]
    assert rows["A0002_00_00"].images["reference"].name == "A0002.bmp"
