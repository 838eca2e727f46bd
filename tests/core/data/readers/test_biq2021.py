from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.data.problems import SIMILAR
from qinsight_cli.core.data.readers import biq2021
from qinsight_cli.core.data.reasoning import describe_image, measure_image
from qinsight_cli.core.errors import QInsightError

HEADER = ("Image Name", "MOS", "", "")
TRAIN, TEST = biq2021.TABLES["train"], biq2021.TABLES["test"]


def test_real_photos_and_labels(data_dir: Path, tmp_path: Path, table, prepared) -> None:
    with (data_dir / "biq2021" / TRAIN).open(encoding="utf-8-sig", newline="") as file:
        published = list(csv.reader(file))[1:]
    chosen = published[:12] + [row for row in published if row[0].lower().startswith("ss02 (1014)")]
    table(tmp_path / "biq" / TRAIN, HEADER, [(name.replace(".JPG", ".jpg"), *rest) for name, *rest in chosen])
    (tmp_path / "biq/Images").mkdir()
    for name, *_ in chosen:
        (tmp_path / "biq/Images" / name).symlink_to(data_dir / "biq2021/Images" / name)
    rows, card, _ = prepared(biq2021.read(tmp_path / "biq"), reasoning=True)
    labels = {name.rpartition(".")[0]: float(mos) for name, mos, *_ in chosen}
    assert {row.id: row.raw_label for row in rows.values()} == labels
    lowest, highest = min(labels.values()), max(labels.values())
    for row in rows.values():
        assert row.truth["rating"] == pytest.approx(4 * (row.raw_label - lowest) / (highest - lowest) + 1, abs=1e-4)
        with Image.open(row.images["image"]) as opened:
            assert row.reasoning == describe_image(measure_image(opened))
        assert (row.files["image"].width, row.files["image"].height) == (512, 512)
    assert card["split"] == "by content"


def test_both_tables_give_the_official_split_and_near_duplicates_across_are_told(
    tmp_path: Path, table, draw, prepared
) -> None:
    table(tmp_path / "b" / TRAIN, HEADER, [(f"ss01 ({i}).jpg", i / 10, "", "") for i in range(6)])
    table(tmp_path / "b" / TEST, HEADER, [(f"ss03 ({i}).jpg", i / 10, "", "") for i in range(3)])
    for i in range(6):
        draw(tmp_path / f"b/Images/ss01 ({i}).jpg", i)
    for i in range(3):
        draw(tmp_path / f"b/Images/ss03 ({i}).jpg", 100 + i)
    draw(tmp_path / "b/Images/ss03 (1).jpg", 4, (90, 80))  # ss01 (4) at another size
    rows, card, problems = prepared(biq2021.read(tmp_path / "b"))
    assert {row.id for row in rows.values() if row.split == "test"} == {f"ss03 ({i})" for i in range(3)}
    assert [(p.kind, p.name) for p in problems] == [(SIMILAR, "ss01 (4).jpg | ss03 (1).jpg")]
    assert card["split"] == "official"
    assert card["problems"][SIMILAR] == 1


def test_one_table_never_parts_near_duplicates(tmp_path: Path, table, draw, prepared) -> None:
    names = [f"ss01 ({i}).jpg" for i in range(40)]
    table(tmp_path / "b" / TRAIN, HEADER, [(name, i / 40, "", "") for i, name in enumerate(names)])
    for i, name in enumerate(names):
        draw(tmp_path / "b/Images" / name, i // 2, (18 + 9 * (i % 2), 16))
    rows, _, problems = prepared(biq2021.read(tmp_path / "b"), test_share=0.5)
    for i in range(0, 40, 2):
        assert rows[f"ss01 ({i})"].split == rows[f"ss01 ({i + 1})"].split
    assert {row.split for row in rows.values()} == {"train", "test"}
    assert problems == []


def test_a_mos_outside_the_scale(tmp_path: Path, table) -> None:
    table(tmp_path / TRAIN, HEADER, [("a.jpg", 50, "", "")])
    with pytest.raises(QInsightError, match=r"the label of 'a.jpg' is 50, outside \[0, 1\]"):
        biq2021.read(tmp_path)
