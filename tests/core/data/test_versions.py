from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from qinsight_cli.core.data import versions
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS, PSEUDO_MOS_CLEAN, pseudo_mos
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES


@pytest.fixture
def picture(photo) -> Image.Image:
    return Image.fromarray(photo[20:276, 60:380])


def distance(first: Image.Image, second: Image.Image) -> float:
    return 1.0 - structural_similarity(np.asarray(first), np.asarray(second), channel_axis=2)


def test_the_shares_of_kinds() -> None:
    rng = np.random.default_rng(0)
    drawn = [versions.draw_version(rng) for _ in range(6000)]
    kinds = Counter(kind for kind, _ in drawn)
    assert kinds[NULL] / 6000 == pytest.approx(versions.CLEAN_SHARE, abs=0.02)
    for names, share in ((DISTORTIONS, 0.6), (tuple(versions.RESTORED), 1 - 0.6 - versions.CLEAN_SHARE)):
        for name in names:
            assert kinds[name] / 6000 == pytest.approx(share / len(names), abs=0.02)
    severities = Counter(severity for kind, severity in drawn if kind != NULL)
    assert all(count == pytest.approx(6000 * 0.92 / 5, rel=0.12) for count in severities.values())
    assert {severity for kind, severity in drawn if kind == NULL} == {NULL}


@pytest.mark.parametrize("kind", versions.RESTORED)
def test_what_is_restored_is_ever_farther_from_the_picture(kind: str, picture: Image.Image) -> None:
    far = []
    for severity in SEVERITIES:
        made = [versions.make_version(picture, kind, severity, np.random.default_rng(seed)) for seed in range(6)]
        assert {(image.size, image.mode) for image, _, _ in made} == {(picture.size, "RGB")}
        assert {(name, rating) for _, name, rating in made} == {(kind, versions.version_rating(kind, severity))}
        far.append(np.mean([distance(picture, image) for image, _, _ in made]))
    assert all(near < farther for near, farther in itertools.pairwise(far)), far


@pytest.mark.parametrize("kind", [*DISTORTIONS, *versions.RESTORED])
def test_ratings_fall_with_severity_and_lie_below_the_clean_one(kind: str) -> None:
    ratings = [versions.version_rating(kind, severity) for severity in SEVERITIES]
    assert ratings == sorted(set(ratings), reverse=True)
    assert 1.0 < min(ratings) < max(ratings) < PSEUDO_MOS_CLEAN
    if kind in DISTORTIONS:
        assert ratings == list(PSEUDO_MOS[kind])


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_the_four_classes_come_from_both_sets_of_generators(kind: str, picture: Image.Image) -> None:
    made = [versions.make_version(picture, kind, "obvious", np.random.default_rng(seed)) for seed in range(12)]
    assert len({name for _, name, _ in made}) > 2
    assert {rating for _, _, rating in made} == {pseudo_mos(kind, "obvious")}
    again, *_ = versions.make_version(picture, kind, "obvious", np.random.default_rng(3))
    assert again.tobytes() == made[3][0].tobytes()


def test_the_picture_itself(picture: Image.Image) -> None:
    image, name, rating = versions.make_version(picture, NULL, NULL, np.random.default_rng(0))
    assert (image.tobytes(), name, rating) == (picture.tobytes(), "none", PSEUDO_MOS_CLEAN)


def test_super_resolution_adds_to_resampling(picture: Image.Image) -> None:
    """Halos: values beyond those of the picture it was made from."""
    step = Image.fromarray(np.repeat(np.where(np.arange(128) < 64, 60, 180).astype(np.uint8)[None, :], 96, 0)).convert(
        "RGB"
    )
    for seed in range(4):
        image, *_ = versions.make_version(step, "super_resolved", "obvious", np.random.default_rng(seed))
        assert np.asarray(image).max() > 183
        assert np.asarray(image).min() < 57


def test_pixelation_leaves_blocks(picture: Image.Image) -> None:
    image, *_ = versions.make_version(picture, "pixelated", "catastrophic", np.random.default_rng(0))
    rows = np.asarray(image, dtype=int)
    assert (np.abs(np.diff(rows, axis=1)).sum(2) == 0).mean() > 0.7


def test_a_change_that_nobody_sees(picture: Image.Image) -> None:
    changed = np.asarray(versions.barely_changed(picture, np.random.default_rng(0)), dtype=int)
    difference = changed - np.asarray(picture)
    assert np.abs(difference).max() == 2
    assert abs(difference.mean()) < 0.05
