from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest

from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.data.readers.csv_table import Columns, read
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.score import TASK

COLUMNS = Columns("file", "score", "clean")


@pytest.fixture
def scores(tmp_path: Path, table, draw) -> Path:
    """Four rows, two references, scores 3-9 on a scale of 0-10; pictures of one name in two folders."""
    rows = [("a/x.png", 3, "r1.png"), ("b/x.png", 5, "r1.png"), ("a/y.png", 9, "r2.png"), ("b/y.png", 7, "")]
    for number, name in enumerate([*(row[0] for row in rows), "r1.png", "r2.png"]):
        draw(tmp_path / "t" / name, number)
    return table(tmp_path / "t/scores.csv", ("file", "score", "clean", "more"), [(*row, "-") for row in rows])


def test_the_extremes_of_the_table_are_the_scale(scores: Path, prepared) -> None:
    rows, card, _ = prepared(read(scores, COLUMNS, "mine"))
    assert {name: row.truth["rating"] for name, row in rows.items()} == {
        "a/x.png": 1.0,
        "b/x.png": pytest.approx(4 * 2 / 6 + 1, abs=1e-4),
        "a/y.png": 5.0,
        "b/y.png": pytest.approx(4 * 4 / 6 + 1, abs=1e-4),
    }
    assert rows["b/x.png"].images["image"].parent.name == "b"
    assert rows["a/x.png"].split == rows["b/x.png"].split
    assert card["columns"] == {"image": "file", "label": "score", "reference": "clean"}


def test_or_the_range_stated(scores: Path, prepared) -> None:
    rows, card, _ = prepared(read(scores, COLUMNS, "mine", label_range=(0, 10), lower_is_better=True))
    assert rows["a/x.png"].truth["rating"] == pytest.approx(5 - 4 * 0.3)
    assert rows["a/y.png"].truth["rating"] == pytest.approx(5 - 4 * 0.9)
    assert card["label"] == {"range": [0.0, 10.0], "higher_better": False}


def test_a_picture_of_the_same_name_elsewhere_is_not_taken(scores: Path, prepared) -> None:
    (scores.parent / "b/x.png").unlink()
    with pytest.raises(QInsightError, match=r"1 missing image in 4 label rows, the first 'b/x\.png'"):
        prepared(read(scores, COLUMNS, "mine"))


def test_bad_input(scores: Path, tmp_path: Path, table) -> None:
    with pytest.raises(QInsightError, match=r"outside \[4, 10\]"):
        read(scores, COLUMNS, "mine", label_range=(4, 10))
    with pytest.raises(QInsightError, match="give the lower end first"):
        read(scores, COLUMNS, "mine", label_range=(10, 0))
    with pytest.raises(
        QInsightError,
        match=r"file, score, clean, more .separated by commas., not 'picture'; .* --image-column file --label",
    ):
        read(scores, Columns("picture", "score"), "mine")
    with pytest.raises(QInsightError, match="is not a file; give the table"):
        read(tmp_path, COLUMNS, "mine")


def test_labels_that_are_all_the_same(tmp_path: Path, table, draw, prepared) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / "t" / name, number)
    same = table(tmp_path / "t/same.csv", ("file", "score"), [("a.png", 2), ("b.png", 2)])
    with pytest.raises(QInsightError, match="all 2 labels are the same"):
        prepared(read(same, Columns("file", "score"), "mine"))


def test_an_image_named_twice_in_two_ways(tmp_path: Path, table, draw, prepared) -> None:
    draw(tmp_path / "t/a.png", 1)
    twice = table(tmp_path / "t/twice.csv", ("file", "score"), [("a.png", 2), ("A.PNG", 3)])
    with pytest.raises(QInsightError, match=r"line 3: the picture .* is labelled twice, first in twice\.csv, line 2"):
        prepared(read(twice, Columns("file", "score"), "mine"))


PLAIN = "file,score\na/x.png,3.5\nb/y.png,7\n"


def as_excel(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["File", "Score", None], ["a/x.png", 3.5], [None], ["b/y.png", 7]):
        book.active.append(row)
    with path.open("wb") as file:
        book.save(file)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace(",", ";").replace(".5", ",5"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("\n", ",,\r\n") + ",,,\r\n",
        PLAIN.replace("file,score", " FILE ,Score"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("a/", ".\\a\\").replace("b/", "../t/b/"),
        PLAIN.replace(".png", ""),
        'file,score\n"a/x.png", "3.5"\n"b/y.png",7',
        '"said, of\nmany,";file;score\n;a/x.png;3,5\n;b/y.png;7\n',
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-32"),
        as_excel,
    ],
)
def test_spellings_of_one_table(content: object, scores: Path, prepared) -> None:
    path = scores.parent / "table.of.any.kind"
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    rows, _, _ = prepared(read(path, Columns("file", "score"), "mine"))
    found = {row.images["image"].resolve().relative_to(scores.parent): row.raw_label for row in rows.values()}
    assert found == {Path("a/x.png"): 3.5, Path("b/y.png"): 7.0}


def test_a_table_without_header(scores: Path, tmp_path: Path, prepared) -> None:
    scores.write_text("3;a/x.png\n7;b/y.png\n")
    with pytest.raises(QInsightError, match=r"the columns 3, a/x.png \(separated by semicolons\).*give --no-header"):
        read(scores, Columns(), "mine")
    rows, _, _ = prepared(read(scores, Columns("2", "1"), "mine", header=False))
    assert [row.raw_label for row in rows.values()] == [3.0, 7.0]
    with pytest.raises(QInsightError, match=r"has 2 columns \(separated by semicolons\), and no column 3"):
        read(scores, Columns("2", "3"), "mine", header=False)
    shutil.rmtree(tmp_path / "out")
    scores.write_text("a/x.png,3\nb/y.png,7\n")
    rows, _, _ = prepared(read(scores, Columns(), "mine", header=False))
    assert [row.raw_label for row in rows.values()] == [3.0, 7.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,score\na/x.png,1_000\nb/y.png,2\n", r"line 2: the label of 'a/x.png' is '1_000', not a number"),
        (b"file,score\na/x.png," + b"9" * 400 + b"\n", r"line 2: the label of .* is '9+'\.\.\., not a number"),
        (b"file,score\na/x.png,85%\n", "is '85%', not a number"),
        (b"file;score\na/x.png;1.000,5\n", "is '1.000,5', not a number"),
        (b"file,score\na, x.png,3\n", r"line 2: 3 cells under 2 columns \(separated by commas\)"),
        (b'file,score\n"a/x.png,3\nb/y.png,4\n', "is not a line of CSV: unexpected end of data"),
        ("file,score\né.png,3\n".encode("cp1252"), r"is not text in UTF-8 \(byte 0xe9 in line 2\); save it as UTF-8"),
        (b"file,score,Score,FILE\na,1,2,b\n", "not"),
        (b"\xd0\xcf\x11\xe0rest", "Excel file of the old kind"),
        (b"PK\x03\x04rest", "as an Excel sheet"),
        (b"", r"has the columns \(none\)"),
    ],
)
def test_tables_that_are_refused_by_name(content: bytes, words: str, scores: Path) -> None:
    scores.write_bytes(content)
    columns = Columns("file", "SCORE" if words == "not" else "score")
    with pytest.raises(QInsightError, match=words if words != "not" else "'SCORE' could be 'score' and 'Score'"):
        read(scores, columns, "mine")


def test_a_sheet_that_unpacks_to_gigabytes_or_names_an_absurd_row(scores: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["file", "score"])
    with scores.open("wb") as file:
        book.save(file)
    with zipfile.ZipFile(scores) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    absurd = parts[sheet].replace(b'<row r="1"', b'<row r="999999999"').replace(b'r="A1"', b'r="A999999999"')
    for change in ({"xl/filler": b"0" * (300 << 20)}, {sheet: absurd}):
        with zipfile.ZipFile(scores, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in {**parts, **change}.items():
                packed.writestr(name, data)
        with pytest.raises(QInsightError, match=r"unpacks to 300 MB|more than 5,000,000 cells or"):
            read(scores, COLUMNS, "mine")


def test_what_score_writes_is_read_back(scores: Path, prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """With paths from the working directory, and names that a spreadsheet would take for formulas."""
    (scores.parent / "a/x.png").rename(scores.parent / "a/=x.png")
    (scores.parent / "a/=x.png").rename(scores.parent / "=x.png")
    monkeypatch.chdir(scores.parent)
    (scores.parent / "results").mkdir()
    out = scores.parent / "results/out.csv"
    lines = [
        TASK.row_columns,
        ("=x.png", 2.5, 0.1, 1, 'dark, "blurred"\nand grey', ""),
        ("b/y.png", 4.0, 0.2, 1, "", ""),
    ]
    out.write_bytes(b"".join(map(csv_line, lines)))
    rows, _, _ = prepared(read(out, Columns(), "mine", label_range=(1, 5)))
    assert {row.images["image"].resolve(): row.truth["rating"] for row in rows.values()} == {
        scores.parent / "=x.png": 2.5,
        scores.parent / "b/y.png": 4.0,
    }


def test_names_that_differ_in_space_or_case_alone_are_read_back(scores: Path, prepared, draw) -> None:
    names = ["z.png", " z.png", "  z.png", "Z.png", " =z.png", "Caf\u00e9.png", "Cafe\u0301.png"]
    for shade, name in enumerate(names):
        draw(scores.parent / name, shade)
    out = scores.parent / "out.csv"
    rows = [(name, float(place), 0.1, 1, "", "") for place, name in enumerate(names)]
    out.write_bytes(b"".join(map(csv_line, [TASK.row_columns, *rows])))
    found, card, _ = prepared(read(out, Columns(), "mine", label_range=(0, len(names))))
    assert card["name"] == "mine"
    labels = {row.images["image"].name: row.raw_label for row in found.values()}
    assert labels == {name: float(place) for place, name in enumerate(names)}


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not text")
def test_a_name_that_is_no_text_is_found_and_is_a_problem(scores: Path, prepared, draw) -> None:
    draw(scores.parent / "good.png", 5)
    draw(scores.parent / "z.png", 9).rename(scores.parent / "bad\udcff.png")
    out = scores.parent / "out.csv"
    rows = [("good.png", 1.0, 0.1, 1, "", ""), ("./bad\udcff.png", 2.0, 0.1, 1, "", "")]
    out.write_bytes(b"".join(map(csv_line, [TASK.row_columns, *rows])))
    found, _, problems = prepared(read(out, Columns(), "mine", label_range=(1, 5)), skip_bad=True)
    assert list(found) == ["good.png"]
    told = {problem.kind: problem.detail for problem in problems}
    assert told["broken image"] == "the file name is not text; rename the file"
    assert "missing image" not in told


def test_a_name_without_extension_that_fits_two_pictures(scores: Path, prepared, draw) -> None:
    draw(scores.parent / "a/x.jpg", 9)
    scores.write_text("file,score\na/x,1\nb/y,2\n")
    with pytest.raises(QInsightError, match=r"'a/x' could be .*a/x\.jpg or .*a/x\.png; write more of it"):
        prepared(read(scores, Columns("file", "score"), "mine"))
