from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.data import synth
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS_CLEAN, pseudo_mos
from qinsight_cli.core.data.synth_rows import SynthSettings
from qinsight_cli.core.data.synth_varied import UNRATED, scaled_rating
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES


@pytest.fixture
def photos_there(photos, tmp_path: Path) -> list[Path]:
    paths = []
    for name in ("astronaut", "coffee"):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(photos(name)).save(paths[-1])
    return paths


@pytest.fixture
def settings(tmp_path: Path) -> SynthSettings:
    return SynthSettings(tmp_path / "out", 20, ("degradation", "score"), 0, reasoning=True, seed=0, varied=True)


def make(photos: list[Path], settings: SynthSettings, workers: int = 1):
    rows, problems = synth.synthesise(photos, settings, 0.3, {}, workers, lambda: None)
    assert problems == []
    return rows


def test_classes_are_balanced_and_ratings_follow_the_damage(photos_there, settings) -> None:
    rated = replace(settings, ratings={photos_there[0]: 3.0})
    rows = make(photos_there, rated)
    counts = Counter((r.truth["distortion"], r.truth["severity"]) for r in rows if r.task == "degradation")
    assert counts == dict.fromkeys(itertools.product(DISTORTIONS, SEVERITIES), 2) | {("null", "null"): 2}
    damage = {r.images["image"]: r.truth for r in rows if r.task == "degradation"}
    for row in rows:
        path = row.images["image"]
        assert row.files["image"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        if row.task == "score":
            best = 3.0 if "astronaut" in path.name else UNRATED
            worth = pseudo_mos(damage[path]["distortion"], damage[path]["severity"])
            expected = 1 + (worth - 1) / (PSEUDO_MOS_CLEAN - 1) * (best - 1)  # its share of the way from 1 to the best
            assert row.truth["rating"] == pytest.approx(expected, abs=6e-4)
    assert len({row.id for row in rows}) == len(rows) == 84


def test_the_best_rating_is_that_of_the_undamaged_part() -> None:
    assert scaled_rating(PSEUDO_MOS_CLEAN, 3.3) == 3.3
    assert scaled_rating(1.0, 3.3) == 1.0


def test_pairs(photos_there, settings) -> None:
    rows = make(photos_there, replace(settings, per_photo=1, tasks=("comparison",), pairs=24))
    assert len(rows) == 48
    winners = Counter(row.truth["winner"] for row in rows)
    assert set(winners) == {"Image A", "Image B", "Similar"}
    assert 0.25 < winners["Image A"] / 48 < 0.65
    for row in rows:
        shown = {role: np.asarray(Image.open(path), dtype=int) for role, path in row.images.items()}
        assert len({pixels.shape for pixels in shown.values()}) == 1
        first, second = row.raw_label
        if row.truth["winner"] == "Similar":
            assert "reference" in shown
            assert first == second
            assert np.abs(shown["image_a"] - shown["image_b"]).max() <= 2
        else:
            assert row.truth["winner"] == ("Image A" if first > second else "Image B")
            assert (shown["image_a"] != shown["image_b"]).any()
        assert row.reasoning.startswith("Image A has ")
    assert sum("reference" in row.images for row in rows) == 36


def test_the_winner_does_not_hang_on_the_rating_of_the_photo(photos_there, settings) -> None:
    """A photo that people gave the lowest rating: all versions are rated 1, yet one is damaged more."""
    plan = replace(settings, per_photo=1, tasks=("comparison",), pairs=24)
    usual = make(photos_there[:1], plan)
    worst = make(photos_there[:1], replace(plan, ratings={photos_there[0]: 1.0}, out=plan.out / "worst"))
    assert [row.truth for row in worst] == [row.truth for row in usual]


def test_the_same_twice_and_on_several_cores(photos_there, settings, tmp_path: Path) -> None:
    plan = replace(settings, per_photo=4, tasks=("degradation", "comparison"), pairs=4)
    once, many = make(photos_there, plan), make(photos_there, replace(plan, out=tmp_path / "two"), workers=2)
    assert [(r.id, r.truth, r.reasoning, r.files) for r in once] == [
        (r.id, r.truth, r.reasoning, r.files) for r in many
    ]
    other = make(photos_there, replace(plan, seed=1, out=tmp_path / "three"))
    assert [r.files for r in other] != [r.files for r in once]
