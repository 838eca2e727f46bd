"""Tables of pairs as spreadsheets and people write them."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.pairs import read_pairs
from qinsight_cli.core.report.rows import csv_line
from qinsight_cli.core.tasks import TASKS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "=1.png", unicodedata.normalize("NFD", "é.png")):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


PLAIN = b"image_a,image_b\na.png,b.png\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        b"image_a, image_b\na.png, b.png\n",
        b"image_a,image_b\r\na.png,b.png\r\n,\r\n,\r\n",
        b"\nImage_A;IMAGE_B\na.png;b.png\n",
        b"image_a\timage_b\na.png\tb.png\n",
        b"image_a,image_b,,\na.png,b.png,,\n",
        b"note,image_b,image_a\nsame,b.png,a.png\n",
        codecs.BOM_UTF8 + PLAIN,
        PLAIN.decode().encode("utf-16"),
    ],
)
def test_spellings_of_one_table(folder: Path, content: bytes) -> None:
    (folder / "p.csv").write_bytes(content)
    assert read_pairs(folder / "p.csv") == [{"image_a": str(folder / "a.png"), "image_b": str(folder / "b.png")}]


def test_what_compare_writes_is_read_back(folder: Path) -> None:
    row = [str(folder / "=1.png"), str(folder / "b.png"), "", "Image A", "because", ""]
    (folder / "p.csv").write_bytes(csv_line(TASKS["comparison"].row_columns) + csv_line(["=1.png", *row[1:]]))
    assert read_pairs(folder / "p.csv") == [{"image_a": row[0], "image_b": row[1]}]


@pytest.mark.parametrize(
    "name", [" c.png", "  c.png", "c.png ", " =c.png", "\tc.png", "\u3000c.png", " 'c.png", "'c.png"]
)
def test_a_name_that_begins_or_ends_with_space_is_read_back(folder: Path, name: str) -> None:
    for there in (name, "c.png", "=c.png"):
        (folder / there).write_bytes(b"x")
    (folder / "p.csv").write_bytes(csv_line(["image_a", "image_b"]) + csv_line(["b.png", name]))
    assert read_pairs(folder / "p.csv") == [{"image_a": str(folder / "b.png"), "image_b": str(folder / name)}]


def test_space_in_quotes_that_no_name_has_is_dropped(folder: Path) -> None:
    (folder / "p.csv").write_text('image_a,image_b\n" a.png","b.png "\n')
    assert read_pairs(folder / "p.csv") == [{"image_a": str(folder / "a.png"), "image_b": str(folder / "b.png")}]


def test_names_without_extension(folder: Path) -> None:
    (folder / "p.csv").write_text("image_a,image_b\na,b\n")
    assert read_pairs(folder / "p.csv") == [{"image_a": str(folder / "a.png"), "image_b": str(folder / "b.png")}]
    (folder / "a.jpg").write_bytes(b"x")
    with pytest.raises(QInsightError, match=r"line 2: 'a' could be .*a\.jpg or .*a\.png; write its extension"):
        read_pairs(folder / "p.csv")


def test_a_name_in_another_normal_form_and_with_backslashes(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "c.png").write_bytes(b"x")
    (folder / "p.csv").write_text("image_a,image_b\né.png,sub\\c.png\n")
    (item,) = read_pairs(folder / "p.csv")
    assert Path(item["image_a"]).exists()
    assert item["image_b"] == str(folder / "sub" / "c.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column image_a"),
        (b"image_a,image_b\n,\n", "holds no pairs"),
        (b"image_a,image_b,image_a\nx,y,z\n", "two columns named 'image_a'"),
        (b"first,second\na,b\n", "no column image_a.* has first, second"),
        (b"image_a,image_b\na.png,\n", "line 2: no image_b"),
        (b"image_a,image_b\n\xff,b\n", r"not text in UTF-8 \(byte 0xff in line 2\)"),
        (b"image_a,image_b\na, b.png,b.png\n", "line 2: 3 cells under 2 columns"),
        (b'image_a,image_b\n"a.png,b.png\n', "not a line of CSV.*check its quotes"),
    ],
)
def test_what_cannot_be_read_is_one_line(folder: Path, content: bytes, words: str) -> None:
    (folder / "p.csv").write_bytes(content)
    with pytest.raises(QInsightError, match=words):
        read_pairs(folder / "p.csv")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_pairs_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for content in (data, PLAIN + data):
        path.write_bytes(content)
        try:
            pairs = read_pairs(path)
        except QInsightError:
            continue
        assert pairs
