"""The folder that a job on many machines leaves: what is in it, and what it is refused or read again."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.part_files import FORMATS, Parts, row_id

COLUMNS = ("path", "rating", "samples", "reasoning", "error", "key", "notes")
SETTINGS = {"model": {"model": "tiny", "weights": "abc"}, "seed": 0}


def parts(folder: Path, form: str = "parquet") -> Parts:
    return Parts(str(folder), form, ("path",), COLUMNS, ("rating",))


def row(i: int, **more: Any) -> dict[str, Any]:
    known = {"path": f"photos/{i}.png", "rating": Decimal("3.42"), "samples": 1, "reasoning": "=sum", "error": None}
    return {**known, "key": f"image:{i:064x}", "notes": ["first of 3 frames"], **more}


def done_ids(found: Parts) -> list[int]:
    return [int(each) for each in found.done(lambda words: None)]


@pytest.mark.parametrize("form", FORMATS)
def test_rows_come_back(form: str, tmp_path: Path) -> None:
    here = parts(tmp_path, form)
    here.claim(SETTINGS, restart=False)
    here.write([row(1), row(2)])
    here.write([row(3, rating=None, error="broken", key="", notes=None)], errors=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.partition("-")[0] for name in names] == ["_job.json", "errors", "part"]
    rows = sorted(here.all_rows(["rating", "reasoning", "error"]), key=lambda each: each["path"])
    assert [each["path"] for each in rows] == ["photos/1.png", "photos/2.png", "photos/3.png"]
    assert [float(each["rating"]) if each["rating"] else None for each in rows] == [3.42, 3.42, None]
    assert [each["reasoning"] for each in rows] == ["=sum"] * 3
    assert done_ids(here) == sorted(row_id(row(i), ("path",)) for i in (1, 2))
    assert not list(tmp_path.glob("errors-*")), "rows without an answer are asked again"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_part_cut_short_is_put_aside(form: str, share: float, tmp_path: Path) -> None:
    here = parts(tmp_path, form)
    here.claim(SETTINGS, restart=False)
    here.write([row(1)])
    (first,) = tmp_path.glob("part-*")
    here.write([row(2), row(3), row(4)])
    (cut,) = (path for path in tmp_path.glob("part-*") if path != first)
    data = cut.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    lines: list[str] = []
    assert [int(each) for each in here.done(lines.append)] == [row_id(row(1), ("path",))]
    assert len(lines) == 1
    assert f"is no whole {form} file; " in lines[0]
    assert "its pictures are asked again" in lines[0]
    assert [path.name for path in tmp_path.glob("part-*")] == [first.name]
    assert len(list(tmp_path.glob("_broken-*"))) == 1


def test_the_same_work_twice_is_the_same_part(tmp_path: Path) -> None:
    here = parts(tmp_path)
    here.write([row(1), row(2)])
    here.write([row(2), row(1)])
    assert len(list(tmp_path.iterdir())) == 1


def test_the_same_picture_under_two_names_are_two_rows(tmp_path: Path) -> None:
    here = parts(tmp_path)
    here.write([row(1)])
    assert row_id(row(1, path="other.png"), ("path",)) not in done_ids(here)


def test_another_job_is_refused_and_named(tmp_path: Path) -> None:
    parts(tmp_path).claim(SETTINGS, restart=False)
    parts(tmp_path).claim(SETTINGS, restart=False)
    with pytest.raises(QInsightError, match=r"model\.weights abc -> xyz"):
        parts(tmp_path).claim({**SETTINGS, "model": {"model": "tiny", "weights": "xyz"}}, restart=False)
    with pytest.raises(QInsightError, match="form parquet -> csv"):
        parts(tmp_path, "csv").claim(SETTINGS, restart=False)
    parts(tmp_path).write([row(1)])
    parts(tmp_path).claim({**SETTINGS, "seed": 1}, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["_job.json"]
    assert json.loads((tmp_path / "_job.json").read_text())["settings"]["seed"] == 1


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(QInsightError, match=r"holds holiday\.jpg but no job of qinsight"):
        parts(tmp_path).claim(SETTINGS, restart=True)
    for words in ("", "[]", '{"settings": 3}'):
        folder = tmp_path / f"other{len(words)}"
        folder.mkdir()
        (folder / "_job.json").write_text(words)
        with pytest.raises(QInsightError, match="is no job of qinsight"):
            parts(folder).claim(SETTINGS, restart=False)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    for form in FORMATS:
        here = parts(tmp_path / form, form)
        here.claim(SETTINGS, restart=False)
        odd = row(1, path="a\udcff.png")
        here.write([odd])
        assert done_ids(here) == [row_id(odd, ("path",))]
