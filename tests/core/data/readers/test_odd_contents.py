"""Label files of any content: rows, or one line that names the file. Bounded fuzzing of every kind of label file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from qinsight_cli.core.data.label_tables import read_json, read_words
from qinsight_cli.core.data.labels import digest
from qinsight_cli.core.data.readers import diffiqa, kadis, livew, records
from qinsight_cli.core.data.readers.csv_table import Columns
from qinsight_cli.core.data.readers.csv_table import read as read_csv_table
from qinsight_cli.core.data.readers.srbench_votes import read_votes
from qinsight_cli.core.data.table_files import read_table
from qinsight_cli.core.errors import QInsightError

SCALARS = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8)
ODD = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["a.png", "1", "1e999", "nan"])
LINES = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=6).map("\n".join)

RECORD = {"image": "a.png", "gt_score": 3}
PAIR = {"ref_image": "r.png", "ImageA": "a.png", "ImageB": "b.png", "result": "Image A"}
DAMAGE = {"image_A": "a.png", "distortion_class": "blur", "severity": 2, "image_ref": "r.png", "distortion_name": "x"}
VOTE = {"Picture_01": {"Name": "a.png", "Label": "Positive"}, "Picture_02": {"Name": "b.png", "Label": "Negative"}}
READERS: list[tuple[str, dict[str, Any], Callable[[Path], Any]]] = [
    ("x.json", RECORD, lambda path: digest(records.read([path], "x").labels)),
    ("train_comparison.json", PAIR, lambda path: digest(diffiqa.read(path).labels)),
    ("x_sd_brief.json", DAMAGE, lambda path: digest(kadis.read(path).labels)),
    ("labels/r/p/1.json", VOTE, lambda path: read_votes(path.parents[3])),
]


def settled(call: Callable[[], Any]) -> None:
    """It returns, or raises one line."""
    words = ""
    try:
        call()
    except QInsightError as error:
        words = str(error)
    assert "\n" not in words


@pytest.mark.parametrize(("name", "record", "read"), READERS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_records_with_odd_values(
    name: str, record: dict, read: Callable, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    changed = {**record, data.draw(st.sampled_from(sorted(record))): data.draw(ODD)}
    path.write_text(json.dumps(data.draw(st.sampled_from([[record, changed], [changed], changed]))))
    settled(lambda: read(path))


@given(st.binary(max_size=120) | LINES.map(str.encode), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_table_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, header: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for content in (data, b"file,mos\na.png,1\nb.png,2\n" + data, b"PK\x03\x04" + data):
        path.write_bytes(content)
        settled(lambda: read_table(path, header))
        settled(lambda: read_csv_table(path, Columns("file", "mos") if header else Columns(), "x", header=header))
        settled(lambda: list(read_words(path, 2)))
        settled(lambda: read_json(path))


def cells(*values: object) -> np.ndarray:
    found = np.empty((len(values), 1), dtype=object)
    for index, value in enumerate(values):
        found[index, 0] = value
    return found


@pytest.mark.parametrize("odd", [np.empty((0, 0)), np.array(["a", "b"]), np.array([[1.0]]), "", cells("x.bmp")])
def test_cells_of_a_mat_file_that_hold_no_name(odd: object, tmp_path: Path) -> None:
    savemat(tmp_path / "AllImages_release.mat", {"AllImages_release": cells(*["x.bmp"] * 7, odd)})
    savemat(tmp_path / "AllMOS_release.mat", {"AllMOS_release": np.full((1, 8), 50.0)})
    with pytest.raises(QInsightError, match=r"AllImages_release\.mat, entry 8: the cell holds no name"):
        livew.read(tmp_path)


def test_scores_of_a_mat_file_that_are_no_numbers(tmp_path: Path) -> None:
    savemat(tmp_path / "AllImages_release.mat", {"AllImages_release": cells(*["x.bmp"] * 7, "y.bmp")})
    for scores in (cells(*[1.0] * 7, np.empty((0, 0))), cells(*[1.0] * 7, "high"), np.full((1, 8), np.nan)):
        savemat(tmp_path / "AllMOS_release.mat", {"AllMOS_release": scores})
        with pytest.raises(QInsightError, match=r"entry 8: the label of 'y\.bmp' is .*, not a number"):
            livew.read(tmp_path)
