"""Held-out figures against hand counts, with an engine that reads pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixel_engine import PixelEngine, rating_of
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.grpo import evaluate
from qinsight_cli.core.training.grpo.evaluate import Outcome

BLUR = {"distortion": "blur", "severity": "obvious"}


def row(number: int, task: str = "score", source: str = "koniq", **truth: Any) -> Sample:
    return Sample(f"{source}{number}", task, "test", source, {"image": Path(f"{number}.png")}, truth or {"rating": 3.0})


def test_every_task_and_source_is_asked_alike() -> None:
    rows = [row(number) for number in range(500)] + [row(number, source="spaq") for number in range(20)]
    rows += [row(number, "degradation", "kadis", distortion="null", severity="null") for number in range(100)]
    chosen = evaluate.choose_rows(rows, 150, 3)
    assert Counter(one.source for one in chosen) == {"koniq": 65, "spaq": 20, "kadis": 65}
    assert chosen == evaluate.choose_rows(rows, 150, 3)
    assert chosen != evaluate.choose_rows(rows, 150, 4)
    assert evaluate.choose_rows(rows, 1000, 3) == rows


def test_accuracies_are_those_of_table_2() -> None:
    null = {"distortion": "null", "severity": "null"}
    found = [Outcome("degradation", "x", null, null, {"r_deg": 1.0, "r_lev": 1.0})] * 6
    found += [Outcome("degradation", "x", BLUR, BLUR, {"r_deg": right, "r_lev": 0.0}) for right in (1.0, 0.0)]
    found += [Outcome("degradation", "x", BLUR, {**BLUR, "distortion": "noise"}, {"r_deg": 0.0, "r_lev": 0.0})]
    figures = evaluate.summary(found, TASKS, {})
    assert figures["class_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
    assert figures["level_accuracy"] == 0.0  # null has no level
    assert figures["r_lev"] == pytest.approx(6 / 9, abs=1e-6)


def test_figures_by_hand() -> None:
    found = [
        Outcome("score", "koniq", {"rating": 3.0}, {"rating": 3.1}, {"r_fmt": 1.0, "r_scr": 1.0}),
        Outcome("score", "koniq", {"rating": 2.0}, {"rating": 4.0}, {"r_fmt": 1.0, "r_scr": 0.0}),
        Outcome("score", "koniq", {"rating": 4.0}, {"rating": 4.6}, {"r_fmt": 0.0, "r_scr": 0.0}),
        Outcome("score", "spaq", {"rating": 1.0}, {"rating": 1.0}, {"r_fmt": 1.0, "r_scr": 1.0}),
        Outcome("score", "spaq", None, {"rating": 1.0}, {"r_fmt": 0.0, "r_scr": 0.0}),
        Outcome("degradation", "x", BLUR, BLUR, {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 0.0}),
        Outcome("degradation", "x", BLUR, BLUR, {"r_fmt": 1.0, "r_deg": 1.0, "r_lev": 1.0}),
    ]
    figures = evaluate.summary(found, TASKS, {})
    assert figures["rows"] == 7
    assert figures["reward"] == pytest.approx((2 + 1 + 0 + 2 + 0 + 1.25 + 2) / 7, abs=1e-6)
    assert figures["r_scr"] == pytest.approx(2 / 5)
    assert (figures["class_accuracy"], figures["level_accuracy"]) == (1.0, 0.5)
    assert figures["unread"] == pytest.approx(1 / 7, abs=1e-6)
    assert figures["plcc"] == pytest.approx(np.corrcoef([3, 2, 4, 1], [3.1, 4.0, 4.6, 1.0])[0, 1], abs=1e-6)
    assert figures["plcc/koniq"] == pytest.approx(np.corrcoef([3, 2, 4], [3.1, 4.0, 4.6])[0, 1], abs=1e-6)
    assert (figures["r_scr/koniq"], figures["r_scr/spaq"]) == (pytest.approx(1 / 3, abs=1e-6), 0.5)
    assert "plcc/spaq" not in figures  # one rating has no correlation
    assert "accuracy" not in figures


def test_answers_come_through_the_code_of_inference(tmp_path: Path) -> None:
    rows = []
    for number, grey in enumerate((20, 120, 220)):
        image = Image.new("RGB", (32, 32), (grey, grey, grey))
        image.save(tmp_path / f"{number}.png")
        rating = rating_of(image)
        rows.append(replace(row(number, rating=rating), images={"image": tmp_path / f"{number}.png"}))
    rows.append(replace(rows[0], images={"image": tmp_path / "gone.png"}))
    found = evaluate.outcomes(PixelEngine(), rows, {"score": TASKS["score"]}, 64)
    assert [one.rewards.get("r_scr") for one in found] == [1.0, 1.0, 1.0, 0.0]
    assert found[3].answer is None
    assert evaluate.summary(found, TASKS, {})["plcc"] == pytest.approx(1.0, abs=1e-3)
