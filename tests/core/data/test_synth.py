from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.data import synth
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.problems import BROKEN
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS, PSEUDO_MOS_CLEAN
from qinsight_cli.core.data.reasoning import describe_image, measure_image
from qinsight_cli.core.data.synth_rows import CLEARLY, SIMILAR
from qinsight_cli.core.errors import QInsightError, UsageError
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES


@pytest.fixture
def photos_there(photo, tmp_path: Path) -> list[Path]:
    """Six crops of a real photo, 64x48, far apart from one another."""
    (tmp_path / "photos").mkdir()
    paths = []
    for index in range(6):
        top, left = 40 * (index % 3) + 10, 190 * (index // 3) + 20
        path = tmp_path / f"photos/crop {index}.png"
        Image.fromarray(photo[top : top + 96, left : left + 128]).resize((64, 48)).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def settings(tmp_path: Path) -> synth.SynthSettings:
    return synth.SynthSettings(tmp_path / "out", 20, ("degradation",), pairs=4, reasoning=False, seed=0)


def make(
    photos: list[Path], settings: synth.SynthSettings, share: float = 0.3, known=None, workers: int = 1
) -> list[Sample]:
    rows, problems = synth.synthesise(photos, settings, share, known or {}, workers, lambda: None)
    assert problems == []
    return rows


def test_class_and_severity_are_balanced_and_one_in_21_is_null(photos_there, settings) -> None:
    rows = make(photos_there, settings)
    counts = Counter((row.truth["distortion"], row.truth["severity"]) for row in rows)
    assert counts == dict.fromkeys(itertools.product(DISTORTIONS, SEVERITIES), 6) | {("null", "null"): 6}
    assert len({row.id for row in rows}) == len(rows) == 126
    for row in rows:
        assert row.images["image"].is_file()
        if row.truth["distortion"] == "null":
            assert row.images["image"] in photos_there


def test_the_facts_are_those_of_the_files(photos_there, settings) -> None:
    for row in make(photos_there[:1], replace(settings, tasks=("degradation", "comparison"))):
        for role, path in row.images.items():
            assert row.files[role].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            with Image.open(path) as opened:
                assert (row.files[role].width, row.files[role].height) == opened.size


def test_a_photo_is_on_one_side_with_all_that_is_made_of_it(photos_there, settings) -> None:
    sides: dict[str, set[str]] = {}
    for row in make(photos_there, replace(settings, tasks=("degradation", "score", "comparison"))):
        sides.setdefault(row.extra["content"], set()).add(row.split)
    assert len(sides) == 6
    assert all(len(side) == 1 for side in sides.values())


def test_known_splits_are_kept(photos_there, settings) -> None:
    known = {photos_there[0]: "test", photos_there[1]: "train"}
    rows = make(photos_there[:2], settings, share=0.0, known=known)
    assert {row.split for row in rows if row.extra["content"] == synth.photo_name(photos_there[0].name)} == {"test"}
    assert {row.split for row in rows if row.extra["content"] == synth.photo_name(photos_there[1].name)} == {"train"}


def test_the_same_twice_and_on_several_cores(photos_there, settings, tmp_path: Path) -> None:
    settings = replace(settings, per_photo=6, tasks=("degradation", "comparison"), reasoning=True)
    once, many = make(photos_there, settings), make(photos_there, replace(settings, out=tmp_path / "two"), workers=2)
    assert [(r.id, r.split, r.truth, r.reasoning, r.files) for r in once] == [
        (r.id, r.split, r.truth, r.reasoning, r.files) for r in many
    ]
    other = make(photos_there, replace(settings, seed=1, out=tmp_path / "three"))
    assert [r.files for r in other] != [r.files for r in once]


def test_jpeg_quality_is_the_generators(photos_there, settings) -> None:
    """The picture of a JPEG row is the photo through Pillow's own JPEG at the published quality, pixel for pixel."""
    qualities = dict(zip(SEVERITIES, (25, 18, 12, 8, 5), strict=True))
    checked = 0
    for row in make(photos_there, settings):
        if row.extra["generator"] != "jpeg":
            continue
        photo = next(path for path in photos_there if synth.photo_name(path.name) == row.extra["content"])
        buffer = io.BytesIO()
        Image.open(photo).save(buffer, "JPEG", quality=qualities[row.truth["severity"]])
        assert np.array_equal(np.asarray(Image.open(row.images["image"])), np.asarray(Image.open(buffer)))
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3])
def test_another_share_of_null(share: float, photos_there, settings, tmp_path: Path) -> None:
    """Drawn by name, so near the share over 24 photos; the damaged pictures stay the same."""
    photos = []
    for index in range(24):
        photos.append(tmp_path / f"photos/p{index}.png")
        Image.open(photos_there[index % 6]).rotate(3 * index).resize((40, 30)).save(photos[-1])
    small = replace(settings, per_photo=8)
    rows = make(photos, replace(small, null_share=share))
    nulls = [row for row in rows if row.truth["distortion"] == "null"]
    assert abs(len(nulls) / len(rows) - share) < 0.04
    usual = {row.id: row.files for row in make(photos, replace(small, out=tmp_path / "usual"))}
    assert all(row.files == usual[row.id] for row in rows if row.truth["distortion"] != "null")
    assert len({row.files["image"].sha256 for row in nulls}) == len(nulls)
    assert len({row.id for row in rows}) == len(rows)


def test_scores_and_pairs_follow_the_pseudo_mos(photos_there, settings) -> None:
    rows = make(photos_there, replace(settings, tasks=("score", "comparison"), reasoning=True))
    ratings = {row.images["image"]: row.truth["rating"] for row in rows if row.task == "score"}
    assert set(ratings.values()) <= {PSEUDO_MOS_CLEAN} | {v for vs in PSEUDO_MOS.values() for v in vs}
    pairs = [row for row in rows if row.task == "comparison"]
    assert len(pairs) == 24
    for row in pairs:
        first, second = ratings[row.images["image_a"]], ratings[row.images["image_b"]]
        assert row.raw_label == [first, second]
        if abs(first - second) < SIMILAR:
            assert row.truth == {"winner": "Similar"}
            assert "reference" in row.images
        else:
            assert abs(first - second) >= CLEARLY
            assert row.truth == {"winner": "Image A" if first > second else "Image B"}
    assert {"reference" in row.images for row in pairs} == {True, False}


def test_reasoning_is_of_the_picture_and_a_score_does_not_praise_what_is_absent(photos_there, settings) -> None:
    rows = make(photos_there[:2], replace(settings, tasks=("degradation", "score", "comparison"), reasoning=True))
    for row in rows:
        if row.task == "comparison":
            assert row.reasoning.startswith("Image A has ")
            assert " Image B has " in row.reasoning
            continue
        with Image.open(row.images["image"]) as opened:
            measures = measure_image(opened)
        damage = row.extra["damage"], row.images["image"].stem.rpartition("-")[2]
        if damage[0] == "null":
            damage = ("null", "null") if row.task == "degradation" else None
        assert row.reasoning == describe_image(measures, damage)


def test_a_photo_that_cannot_be_read_is_a_problem(photos_there, settings) -> None:
    photos_there[2].write_bytes(b"no photo")
    rows, problems = synth.synthesise(photos_there, settings, 0.3, {}, 1, lambda: None)
    assert len(rows) == 5 * 21
    assert [(problem.kind, problem.name) for problem in problems] == [(BROKEN, str(photos_there[2]))]


def test_plans_that_cannot_be(photos_there, settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--per-photo 0"):
        synth.check_settings(replace(settings, per_photo=0), photos_there)
    for share in (-0.1, 1.0):
        with pytest.raises(UsageError, match="--null-share"):
            synth.check_settings(replace(settings, null_share=share), photos_there)
    with pytest.raises(QInsightError, match="no photos"):
        synth.check_settings(settings, [])


def test_photos_of_one_name_in_several_folders(photos_there, settings, tmp_path: Path) -> None:
    """Two cameras both count from IMG_0001; a photo of another name keeps the pictures it has without them."""
    alone, _ = synth.synthesise(photos_there[1:2], settings, 0.0, {}, 1, lambda: None)
    twins = [tmp_path / folder / photos_there[0].name for folder in ("one", "two")]
    for twin, photo in zip(twins, (photos_there[0], photos_there[2]), strict=True):
        twin.parent.mkdir()
        twin.write_bytes(photo.read_bytes())
    rows, problems = synth.synthesise([*twins, photos_there[1]], settings, 0.0, {}, 1, lambda: None)
    assert not problems
    assert len({row.id for row in rows}) == len(rows) == 3 * len(alone)
    assert len({row.extra["content"] for row in rows}) == 3
    assert {row.id for row in alone} <= {row.id for row in rows}


def test_a_photo_that_a_generator_cannot_take_is_a_problem_of_its_own(photos_there, settings, tmp_path: Path) -> None:
    Image.new("RGB", (66_000, 40), (9, 99, 200)).save(tmp_path / "pano.png")
    rows, problems = synth.synthesise([tmp_path / "pano.png", photos_there[0]], settings, 0.3, {}, 1, lambda: None)
    assert [(problem.kind, problem.name) for problem in problems] == [(BROKEN, str(tmp_path / "pano.png"))]
    assert "cannot be damaged: " in problems[0].detail
    assert len(rows) == 21


def test_a_full_disk_stops_it(photos_there, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(QInsightError, match=r"cannot write .*\.png: No space left on device"):
        make(photos_there, settings)


def test_a_name_of_many_bytes_and_one_that_is_no_text(photos_there, settings, tmp_path: Path) -> None:
    long = photos_there[0].rename(tmp_path / ("长" * 80 + ".png"))
    rows = make([long], replace(settings, null_share=0.0))
    assert len(rows) == 20
    assert len(synth.photo_name(long.name).encode()) < 220
    assert synth.photo_name(long.name) != synth.photo_name("长" * 81 + ".png")
    assert synth.photo_name(os.fsdecode(b"caf\xe9.png")).startswith("caf_-")
