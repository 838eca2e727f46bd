"""One worker of a job: the cache of its machine answers what it can. Whole jobs are in commands/test_fleet.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.inference import fleet
from qinsight_cli.core.inference.part_files import Parts
from qinsight_cli.core.tasks import TASKS


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs one worker over three pictures, in the process of the test -> (pictures that the model saw, its rows)."""
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
    for number in range(3):
        Image.new("RGB", (8, 8), (50 * number,) * 3).save(tmp_path / f"{number}.png")
    units = [json.dumps([{"image": str(tmp_path / f"{number}.png")}]) for number in range(3)]

    def one(name: str, weights: str = "abc", **more: Any) -> tuple[int, list[dict[str, Any]]]:
        engine = PixelEngine()
        engine.identity = {"model": "pixels", "weights": weights}
        monkeypatch.setattr(fleet, "load", lambda *_: engine)
        (tmp_path / name).mkdir()
        parts = Parts(str(tmp_path / name), "jsonl", ("path",), ("path", "rating", "key"), ("rating",))

        def row(task: Any, results: Any, model: str) -> dict[str, Any]:
            (result,) = results
            return {"path": result.images["image"], "rating": result.answers[0].rating, "error": None}

        job = fleet.Job(TASKS["score"], "pixels", Decoding(), parts, row, folder=str(tmp_path), **more)
        (counts,) = fleet.Judge(job, [])({"unit": units})["counts"]
        assert json.loads(counts)["rows"] == 3
        rows = [json.loads(line) for file in (tmp_path / name).iterdir() for line in file.read_text().splitlines()]
        return sum(engine.batches), sorted(rows, key=lambda each: each["path"])

    return one


def test_a_second_job_asks_nothing_that_the_first_has_answered(asked: Any) -> None:
    first = asked("first", cached=True)
    assert first[0] == 3
    assert [row["rating"] for row in first[1]] == pytest.approx([1.0, 1.78, 2.57])
    assert asked("second", cached=True) == (0, first[1])
    assert asked("other weights", weights="xyz", cached=True)[0] == 3
    assert asked("without", cached=False)[0] == 3
