from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from qinsight_cli.core.data.label_tables import read_csv, read_json, read_sheet, read_words
from qinsight_cli.core.errors import QInsightError


def test_csv_with_all_that_editors_leave(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffname , MOS,,\r\n"a,\r\nb.jpg", 1 ,,\r\n,,,\r\n\r\nc.jpg\r\n'.encode())
    assert list(read_csv(path, "kadid", ["name", "MOS"])) == [
        ("t.csv, line 3", {"name": "a,\r\nb.jpg", "MOS": "1"}),
        ("t.csv, line 6", {"name": "c.jpg", "MOS": ""}),
    ]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_csv_of_another_kind(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(QInsightError, match=r"t\.csv"):
        list(read_csv(tmp_path / "t.csv", "kadid", ["dist_img"]))


def test_the_header_names_the_dataset_it_is_of(tmp_path: Path) -> None:
    (tmp_path / "dmos.csv").write_text("image_name,MOS\n")
    (tmp_path / "mos_with_names.txt").write_text("5 I01_01_1.bmp\n")
    with pytest.raises(QInsightError, match=r"the header is 'image_name,MOS', not KADID-10k's .*looks like TID2013"):
        list(read_csv(tmp_path / "dmos.csv", "kadid", ["dist_img"]))


def test_words(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a.png, 1520.06\r\n\n b.png\t7 \n")
    assert list(read_words(tmp_path / "t.txt", 2)) == [
        ("t.txt, line 1", ["a.png", "1520.06"]),
        ("t.txt, line 3", ["b.png", "7"]),
    ]
    with pytest.raises(QInsightError, match=r"t\.txt, line 1: .* fewer than 3 columns"):
        list(read_words(tmp_path / "t.txt", 3))
    with pytest.raises(QInsightError, match="cannot read"):
        list(read_words(tmp_path / "gone.txt", 2))


def test_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in ([None], ["note"], ["name", "MOS"], ["a.png", 5], [None, None], [1600, 7.5]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    rows = list(read_sheet(tmp_path / "t.xlsx", "spaq", ["name", "MOS"], header=2))
    assert [(where, row["name"], row["MOS"]) for where, row in rows] == [
        ("t.xlsx, row 4", "a.png", "5"),
        ("t.xlsx, row 6", "1600", "7.5"),
    ]
    with pytest.raises(QInsightError, match="the header is 'name,MOS'"):
        list(read_sheet(tmp_path / "t.xlsx", "spaq", ["Image name"], header=2))


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"a": 1}')
    assert read_json(path) == [{"a": 1}]
    path.write_text('[{"a": 1}, {"b": 2}]')
    assert read_json(path) == [{"a": 1}, {"b": 2}]
    for bad in ("", "[1]", "[", '"x"'):
        path.write_text(bad)
        if bad:
            with pytest.raises(QInsightError, match=r"t\.json"):
                read_json(path)
    with pytest.raises(QInsightError, match="cannot read"):
        read_json(tmp_path / "gone.json")


def test_a_column_that_stands_twice_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("name,MOS, MOS\na.jpg,1,5\n")
    with pytest.raises(QInsightError, match=r"t\.csv has two columns named 'MOS'; rename or remove one"):
        list(read_csv(path, "kadid", ["name", "MOS"]))
    book = openpyxl.Workbook()
    for row in (["name", "MOS", "MOS", None], ["a.jpg", 1, 5, None]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(QInsightError, match=r"t\.xlsx has two columns named 'MOS'"):
        list(read_sheet(tmp_path / "t.xlsx", "spaq", ["name", "MOS"]))


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"a": ' + "9" * 5000 + "}]", "{", "\xff"])
def test_json_that_is_none_or_endless(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(QInsightError, match=r"cannot read .*x\.json as JSON|x\.json is not text in UTF-8"):
        read_json(tmp_path / "x.json")
