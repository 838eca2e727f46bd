from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from scipy.stats import spearmanr

from qinsight_cli.core.data.readers import csiq
from qinsight_cli.core.errors import QInsightError

SPELLED = {"AWGN": "noise", "BLUR": "blur", "contrast": "contrast", "fnoise": "fnoise", "JPEG": "jpeg"}


def workbook(path: Path, labels: list[tuple[str, float]]) -> Path:
    """csiq.DMOS.xlsx as its authors ship it: header in row 4 from column D on, 1600 a number."""
    book = openpyxl.Workbook()
    book.active.title = "all_by_distortion_type"
    sheet = book.create_sheet("all_by_image")
    sheet["A1"] = "CSIQ"
    for column, title in enumerate(("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"), 4):
        sheet.cell(4, column, title)
    for row, (name, dmos) in enumerate(labels, 5):
        image, kind, level, _ = name.split(".")
        values = (int(image) if image.isdigit() else image, 1, SPELLED.get(kind, "jpeg 2000"), int(level), 0.1, dmos)
        for column, value in enumerate(values, 4):
            sheet.cell(row, column, value)
    book.save(path)
    return path


@pytest.fixture
def labels(data_dir: Path) -> list[tuple[str, float]]:
    lines = (data_dir / "labels/csiq_label.txt").read_text().split("\n")
    return [(line.split()[0], float(line.split()[1])) for line in lines if line.strip()]


def test_the_sheet_and_the_text_say_the_same(labels, data_dir: Path, tmp_path: Path) -> None:
    from_sheet = csiq.read(workbook(tmp_path / "csiq.DMOS.xlsx", labels)).labels
    from_text = csiq.read(data_dir / "labels/csiq_label.txt").labels
    assert len(from_sheet) == 866
    assert {(a.id, a.raw, a.content) for a in from_sheet} == {(b.id, b.raw, b.content) for b in from_text}


def test_dmos_is_turned_around(labels, tmp_path: Path, draw, prepared) -> None:
    workbook(tmp_path / "csiq.DMOS.xlsx", labels)
    chosen = [name for name, _ in labels if name.startswith("1600.")]
    for number, name in enumerate(chosen):
        draw(tmp_path / "dst_imgs" / name.split(".")[1].lower() / name, number)
    draw(tmp_path / "src_imgs/1600.png", 999)
    rows, card, _ = prepared(csiq.read(tmp_path), skip_bad=True)
    assert set(rows) == {name.removesuffix(".png") for name in chosen}
    ratings = [row.truth["rating"] for row in rows.values()]
    assert spearmanr(ratings, [row.raw_label for row in rows.values()]).statistic == pytest.approx(-1.0)
    values = [dmos for _, dmos in labels]
    noise = rows["1600.AWGN.1"]
    assert noise.raw_label == 0.061989
    assert noise.truth["rating"] == pytest.approx(
        4 * (max(values) - 0.061989) / (max(values) - min(values)) + 1, abs=1e-4
    )
    assert noise.images["reference"].name == "1600.png"
    assert card["label"] == {"range": [min(values), max(values)], "higher_better": False} == noise.extra["label"]


def test_another_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.save(tmp_path / "csiq.DMOS.xlsx")
    with pytest.raises(QInsightError, match="all_by_image"):
        csiq.read(tmp_path)


def test_a_type_that_is_unknown(tmp_path: Path) -> None:
    path = workbook(tmp_path / "csiq.DMOS.xlsx", [("1600.AWGN.1.png", 0.5)])
    book = openpyxl.load_workbook(path)
    book["all_by_image"]["F5"] = "rain"
    book.save(path)
    with pytest.raises(QInsightError, match="row 5: dst_type is 'rain'"):
        csiq.read(tmp_path)


@pytest.mark.parametrize("sheet", [True, False])
def test_a_small_dataset_either_way(sheet: bool, tmp_path: Path, draw, prepared) -> None:
    labels = [("1600.AWGN.1.png", 0.1), ("1600.jpeg2000.5.png", 0.9), ("sunset.BLUR.3.png", 0.3)]
    if sheet:
        workbook(tmp_path / "csiq.DMOS.xlsx", labels)
    else:
        (tmp_path / "csiq_label.txt").write_text("".join(f"{name}\t{dmos}\n" for name, dmos in labels))
    for number, name in enumerate((*(name for name, _ in labels), "1600.png", "sunset.png")):
        draw(tmp_path / "all" / name, number)
    rows, _, problems = prepared(csiq.read(tmp_path))
    assert problems == []
    assert {name: (row.raw_label, row.truth["rating"]) for name, row in rows.items()} == {
        "1600.AWGN.1": (0.1, 5.0),
        "1600.jpeg2000.5": (0.9, 1.0),
        "sunset.BLUR.3": (0.3, 4.0),
    }
    assert {row.extra["content"] for row in rows.values()} == {"1600", "sunset"}
