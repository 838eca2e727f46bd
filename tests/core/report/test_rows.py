"""CSV and JSON lines read back by independent readers, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.engines import Completion
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.report.rows import AGREEMENT, both_orders, csv_line, is_output, json_line, row_of, writing
from qinsight_cli.core.tasks import TASKS, ParseFailure
from qinsight_cli.core.tasks.comparison import Comparison
from qinsight_cli.core.tasks.degradation import Degradation
from qinsight_cli.core.tasks.score import Score


def result(images: dict[str, str], *answers: Any, error: str | None = None) -> Result:
    completions = tuple(Completion(f"text {i}", 10, 5, "stop") for i in range(len(answers)))
    return Result(images, answers, completions, error)


def cells(line: bytes) -> list[str]:
    (row,) = csv.reader(io.StringIO(line.decode(), newline=""))
    return row


def line_of(task: str, row: dict[str, Any]) -> bytes:
    return csv_line(row[column] for column in TASKS[task].row_columns)


def test_columns_are_those_promised() -> None:
    assert ",".join(TASKS["score"].row_columns) == "path,rating,rating_std,samples,verdict,reasoning,error"
    assert ",".join(TASKS["degradation"].row_columns) == "path,distortion,severity,verdict,reasoning,error"
    assert ",".join(TASKS["comparison"].row_columns) == "image_a,image_b,reference,winner,verdict,reasoning,error"


def test_one_rating_has_two_decimals_a_mean_three() -> None:
    one = row_of(TASKS["score"], result({"image": "a.jpg"}, Score(3.5, "Fine, sharp.")), "m")
    assert line_of("score", one) == b'a.jpg,3.50,,1,"good quality: Fine, sharp.","Fine, sharp.",\n'
    many = row_of(TASKS["score"], result({"image": "a.jpg"}, Score(3.0, "x"), Score(4.0, "y"), Score(4.0)), "m")
    assert line_of("score", many) == b"a.jpg,3.667,0.577,3,good quality: y,y,\n"
    assert json.loads(json_line(many))["rating"] == 3.667


def test_an_unread_sample_is_kept_and_an_error_is_a_row() -> None:
    failed = ParseFailure("no_answer", "none")
    row = row_of(TASKS["score"], result({"image": "a.jpg"}, Score(3.0, "x"), failed), "m")
    assert line_of("score", row) == b"a.jpg,3.000,,1,fair quality: x,x,\n"
    assert row["unread"] == ["text 1"]
    row = row_of(TASKS["score"], result({"image": "a.jpg"}, failed), "m")
    assert line_of("score", row) == b"a.jpg,,,0,,,no_answer: none\n"
    row = row_of(TASKS["score"], result({"image": "a.jpg"}, error="no such file"), "m")
    assert line_of("score", row) == b"a.jpg,,,0,,,no such file\n"
    assert (row["prompt_tokens"], row["completion_tokens"]) == (0, 0)


def test_the_other_tasks() -> None:
    row = row_of(TASKS["degradation"], result({"image": "a"}, Degradation("noise", "slight", "Grain.")), "m")
    assert line_of("degradation", row) == b"a,noise,slight,Grain.,Grain.,\n"
    row = row_of(TASKS["degradation"], result({"image": "a"}, Degradation("null", "null", "Clean.")), "m")
    assert line_of("degradation", row) == b"a,none,none,Clean.,Clean.,\n"
    failure = ParseFailure("missing_key", 'the answer has no "severity"', Degradation("null", "", "Clean."))
    row = row_of(TASKS["degradation"], result({"image": "a"}, failure), "m")
    assert line_of("degradation", row) == b'a,none,,,Clean.,"missing_key: the answer has no ""severity"""\n'
    row = row_of(TASKS["comparison"], result({"image_a": "a", "image_b": "b"}, Comparison("Image B", "Why.")), "m")
    assert line_of("comparison", row) == b"a,b,,Image B,Why.,Why.,\n"
    assert json.loads(json_line(row)) == {
        "image_a": "a",
        "image_b": "b",
        "reference": None,
        "winner": "Image B",
        "verdict": "Why.",
        "reasoning": "Why.",
        "error": None,
        "model": "m",
        "prompt_tokens": 10,
        "completion_tokens": 5,
    }


@pytest.mark.parametrize(
    ("given_order", "swapped_order", "agreement", "error"),
    [
        (Comparison("Image A"), Comparison("Image B"), "agree", None),
        (Comparison("Image A"), Comparison("Image A"), "disagree", None),
        (Comparison("Similar"), Comparison("Similar"), "agree", None),
        (Comparison("Similar"), Comparison("Image B"), "disagree", None),
        (ParseFailure("x", "y"), Comparison("Image B"), None, "x: y"),
        (Comparison("Image A"), ParseFailure("x", "y"), None, "in swapped order: x: y"),
    ],
)
def test_both_orders(given_order: Any, swapped_order: Any, agreement: str | None, error: str | None) -> None:
    task = TASKS["comparison"]
    first = row_of(task, result({"image_a": "a", "image_b": "b"}, given_order), "m")
    second = row_of(task, result({"image_a": "b", "image_b": "a"}, swapped_order), "m")
    row = both_orders(first, second)
    assert (row[AGREEMENT], row["error"], row["winner"]) == (agreement, error, first["winner"])


TEXTS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\0x"]


@pytest.mark.parametrize("text", TEXTS)
def test_formulas_are_disarmed_and_numbers_are_not(text: str) -> None:
    row = row_of(TASKS["score"], result({"image": text}, Score(3.0, text)), "m")
    seen = cells(line_of("score", row))
    assert seen[:4] + seen[5:] == [f"'{text}", "3.00", "", "1", f"'{text}", ""]
    assert cells(csv_line([-1.5, -3])) == ["-1.5", "-3"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=4))
def test_any_text_survives_the_csv(texts: list[str]) -> None:
    line = csv_line(texts)
    assert line.endswith(b"\n")
    assert [cell.removeprefix("'") for cell in cells(line)] == [text.removeprefix("'") for text in texts]


def test_pandas_reads_what_is_written(tmp_path: Any) -> None:
    names = ["a b.jpg", "ü, 写真.jpg", "two\nlines.jpg", "cr\rname.jpg", 'quo"te.jpg']
    path = str(tmp_path / "out.csv")
    with writing(path, None, TASKS["score"].row_columns) as outputs:
        for i, name in enumerate(names):
            outputs.write(row_of(TASKS["score"], result({"image": name}, Score(1.0 + i, "r")), "m"))
    table = pd.read_csv(path)
    assert list(table["path"]) == names
    assert list(table["rating"]) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_name_that_is_not_utf8_leaves_the_file_utf8() -> None:
    name = b"\xff.jpg".decode(errors="surrogateescape")
    assert csv_line([name]) == b"\\udcff.jpg\n"
    assert json.loads(json_line({"path": name})) == {"path": name}


def test_both_files_at_once(tmp_path: Any) -> None:
    row = row_of(TASKS["score"], result({"image": "a"}, Score(3.0, "r")), "m")
    with writing(str(tmp_path / "o.csv"), str(tmp_path / "o.jsonl"), TASKS["score"].row_columns) as outputs:
        outputs.write(row)
    assert (tmp_path / "o.csv").read_text().splitlines()[1] == "a,3.00,,1,fair quality: r,r,"
    assert json.loads((tmp_path / "o.jsonl").read_text())["path"] == "a"


@pytest.mark.parametrize(
    ("head", "ours"),
    [
        (b"", True),
        (b"path,rating,rating_std,samples,verdict,reasoning,error\nx", True),
        (b"\xef\xbb\xbfpath,distortion,severity,verdict,reasoning,error\r\n", True),
        (b"image_a,image_b,reference,winner,verdict,reasoning,error,agreement\n", True),
        (b'{"path": "a", "rating": 3.0, "reasoning": "", "error": null, "model": "m"}\n', True),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"image_a,image_b\na.png,b.png\n", False),
        (b"path,rating\na.png,3\n", False),
        (b'{"path": "a"}\n', False),
        (b"[" * 60_000, False),
        (b"5\n", False),
    ],
)
def test_whose_file_it_is(head: bytes, ours: bool) -> None:
    assert is_output(head) == ours


def test_every_table_written_here_is_known_again() -> None:
    for columns in (task.row_columns for task in TASKS.values()):
        assert is_output(csv_line(columns))
        assert is_output(csv_line([*columns, AGREEMENT]))
    row = row_of(TASKS["score"], result({"image": "a"}, Score(3.0, "r" * 9000)), "m")
    assert is_output(json_line(row))
