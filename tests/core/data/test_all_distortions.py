"""What all generators of distortions have in common."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.metrics
from numpy.typing import NDArray

from damage import LEVELS, apply, plain
from qinsight_cli.core.data import distortions
from qinsight_cli.core.data.distortions import GENERATORS, distort

ALL = [(distortion, name) for distortion, choices in GENERATORS.items() for name in choices]


@pytest.mark.parametrize(("distortion", "name"), ALL)
def test_a_higher_severity_is_further_from_the_picture(photo: NDArray[np.uint8], distortion: str, name: str) -> None:
    found = [skimage.metrics.peak_signal_noise_ratio(photo, apply(name, photo, level)) for level in LEVELS]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] > 1.5
    assert found[0] < 50


@pytest.mark.parametrize(("distortion", "name"), ALL)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 7), (2, 2), (37, 53)])
def test_any_size_stays_that_size(photo: NDArray[np.uint8], distortion: str, name: str, shape: tuple[int, int]) -> None:
    image = photo[50 : 50 + shape[0], 60 : 60 + shape[1]]
    before = image.copy()
    for level in LEVELS:
        found = apply(name, image, level)
        assert (found.shape, found.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("distortion", "name"), ALL)
def test_a_seed_decides_the_bytes(photo: NDArray[np.uint8], distortion: str, name: str) -> None:
    first, again, other = (apply(name, photo[:80, :90], 3, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    if distortion == "noise" or name in ("motion", "glass", "jitter"):
        assert np.any(first != other)
    else:
        np.testing.assert_array_equal(first, other)


def test_null_is_the_picture_itself(photo: NDArray[np.uint8]) -> None:
    found, name = distort(photo, "null", "null", np.random.default_rng(0))
    assert found is photo
    assert name == "none"


def test_every_generator_is_drawn() -> None:
    for distortion, choices in GENERATORS.items():
        drawn = {distort(plain(9, 8), distortion, "slight", np.random.default_rng(s))[1] for s in range(60)}
        assert drawn == set(choices)


@pytest.mark.parametrize(
    ("distortion", "severity", "generator", "error"),
    [("fog", "slight", None, KeyError), ("noise", "huge", None, ValueError), ("noise", "slight", "lens", KeyError)],
)
def test_unknown_words(distortion: str, severity: str, generator: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        distort(plain(9, 8), distortion, severity, np.random.default_rng(0), generator)


def test_results_are_rounded_to_the_nearest_level() -> None:
    assert distortions.to_bytes(np.array([0.5 / 255 + 1e-6, 0.49 / 255, 1.2, -0.1])).tolist() == [1, 0, 255, 0]
