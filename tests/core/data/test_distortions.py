"""The distortions against figures, closed forms and independent implementations."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import skimage.filters
import skimage.metrics
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from numpy.typing import NDArray
from PIL import Image

from damage import LEVELS, apply, plain
from qinsight_cli.core.data.distortions import GENERATORS

ALL = [(distortion, name) for distortion, choices in GENERATORS.items() for name in choices]


def as_unit(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return image.astype(np.float64) / 255.0


def clipped_deviation(mean: float, sigma: float) -> float:
    """Standard deviation of a normal variable clipped to [0, 1]."""
    z = np.linspace(-8, 8, 160_001)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    values = np.clip(mean + sigma * z, 0, 1)
    return float(np.sqrt(density @ values**2 - (density @ values) ** 2))


# --- noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "sigma"), zip(LEVELS, (0.05, 0.1, 0.15, 0.2, 0.25), strict=True))
def test_gaussian_noise(level: int, sigma: float) -> None:
    noisy = as_unit(apply("gaussian_rgb", plain(128), level))
    assert noisy.std() == pytest.approx(clipped_deviation(128 / 255, sigma), rel=0.01)
    assert noisy.mean() == pytest.approx(128 / 255, abs=0.002)
    channels = noisy.reshape(-1, 3)
    assert abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.02, "the channels have noise of their own"


@pytest.mark.parametrize(("level", "luma", "chroma"), [(1, 0.05, 0.05), (2, 0.06, 0.087)])
def test_noise_in_luma_and_chroma(level: int, luma: float, chroma: float) -> None:
    """At the levels at which hardly a value leaves the range and is clipped."""
    red, green, blue = np.moveaxis(as_unit(apply("gaussian_ycrcb", plain(128), level)), 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue  # BT.601
    assert y.std() == pytest.approx(luma, rel=0.02)
    assert ((red - y) / 1.402).std() == pytest.approx(chroma, rel=0.02)
    assert ((blue - y) / 1.772).std() == pytest.approx(chroma, rel=0.02)


@pytest.mark.parametrize(("level", "scale"), zip(LEVELS, (0.14, 0.21, 0.28, 0.35, 0.42), strict=True))
def test_speckle_grows_with_the_value(level: int, scale: float) -> None:
    for value in (40, 80):
        noisy = as_unit(apply("speckle", plain(value), level))
        mean = value / 255
        assert noisy.std() == pytest.approx(clipped_deviation(mean, mean * scale), rel=0.02)


@pytest.mark.parametrize(("level", "sigma"), zip(LEVELS, (0.08, 0.11, 0.14, 0.18, 0.22), strict=True))
def test_spatially_correlated_noise(level: int, sigma: float) -> None:
    noisy = as_unit(apply("spatially_correlated", plain(128), level)) - 128 / 255
    assert noisy.std() == pytest.approx(sigma / 3, rel=0.02), "a 3x3 mean divides the deviation by 3"
    neighbours = np.mean(noisy[:, 1:] * noisy[:, :-1]) / noisy.var()
    assert neighbours == pytest.approx(2 / 3, abs=0.02), "neighbouring 3x3 windows share 6 of 9 pixels"


@pytest.mark.parametrize(("level", "photons"), zip(LEVELS, (80, 60, 40, 25, 15), strict=True))
def test_poisson_variance_is_the_mean(level: int, photons: float) -> None:
    for value in (30, 100):
        noisy = as_unit(apply("poisson", plain(value), level))
        assert noisy.mean() == pytest.approx(value / 255, rel=0.02)
        assert noisy.var() == pytest.approx(value / 255 / photons, rel=0.04)


@pytest.mark.parametrize(("level", "amount"), zip(LEVELS, (0.01, 0.03, 0.05, 0.07, 0.10), strict=True))
def test_salt_and_pepper_amount(level: int, amount: float) -> None:
    noisy = apply("salt_and_pepper", plain(128), level)
    assert np.mean(noisy == 0) == pytest.approx(amount / 2, rel=0.06)
    assert np.mean(noisy == 255) == pytest.approx(amount / 2, rel=0.06)
    assert np.mean(noisy == 128) == pytest.approx(1 - amount, rel=0.01)


# --- blur ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_blur_equals_scikit_image(photo: NDArray[np.uint8], level: int) -> None:
    expected = skimage.filters.gaussian(photo, sigma=level, mode="nearest", truncate=4.0, channel_axis=2)
    found = as_unit(apply("gaussian", photo, level))
    assert abs(found - expected).max() <= 1 / 255


@pytest.mark.parametrize(("level", "radius"), zip(LEVELS, (2, 3, 4, 6, 8), strict=True))
def test_lens_is_a_disk(photo: NDArray[np.uint8], level: int, radius: int) -> None:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (np.hypot(x, y) <= radius).astype(np.float64)
    disk /= disk.sum()
    part = np.ascontiguousarray(photo[80:200, 100:260])
    expected = np.stack([scipy.ndimage.convolve(part[:, :, c] / 255, disk, mode="mirror") for c in range(3)], axis=2)
    assert abs(as_unit(apply("lens", part, level)) - expected).max() <= 1 / 255
    spot = np.zeros((61, 61, 3), dtype=np.uint8)
    spot[30, 30] = 255
    assert np.count_nonzero(apply("lens", spot, level)[:, :, 0]) == np.count_nonzero(disk)


@pytest.mark.parametrize(("level", "reach"), zip(LEVELS, (10, 20, 30, 30, 40), strict=True))
def test_motion_is_half_a_line(level: int, reach: int) -> None:
    """A bright square leaves a trail to one side only, not beyond the kernel's reach, and keeps its light."""
    spot = np.zeros((161, 161, 3), dtype=np.uint8)
    spot[78:83, 78:83] = 255
    for seed in range(8):
        trail = apply("motion", spot, level, seed)[:, :, 0].astype(float)
        assert trail.sum() == pytest.approx(25 * 255, rel=0.03)
        y, x = np.nonzero(trail)
        centre = np.array([(trail.sum(1) @ np.arange(161)), (trail.sum(0) @ np.arange(161))]) / trail.sum() - 80
        direction = centre / np.linalg.norm(centre)
        along = (y - 80) * direction[0] + (x - 80) * direction[1]
        assert along.min() >= -4
        assert along.max() <= reach + 4
        assert along.max() > reach / 2


@pytest.mark.parametrize("name", GENERATORS["blur"])
@pytest.mark.parametrize("value", [0, 77, 255])
def test_blur_leaves_a_plain_picture_alone(name: str, value: int) -> None:
    """At the border too: nothing dark or bright comes in from outside."""
    for level in LEVELS:
        np.testing.assert_array_equal(apply(name, plain(value, 50), level), plain(value, 50))


def test_zoom_is_the_mean_of_enlargements(photo: NDArray[np.uint8]) -> None:
    height, width = photo.shape[:2]
    layers = [as_unit(photo)]
    for factor in (1.0, 1.02, 1.04, 1.06, 1.08, 1.1):
        y = (np.arange(height) - height / 2) / factor + height / 2
        x = (np.arange(width) - width / 2) / factor + width / 2
        grid = np.meshgrid(y, x, indexing="ij")
        layers.append(
            np.stack(
                [
                    scipy.ndimage.map_coordinates(as_unit(photo)[:, :, c], grid, order=1, mode="nearest")
                    for c in range(3)
                ],
                axis=2,
            )
        )
    found = as_unit(apply("zoom", photo, 3))
    assert abs(found - np.mean(layers, axis=0)).mean() < 0.5 / 255


@pytest.mark.parametrize("level", LEVELS)
def test_jitter_only_moves_pixels(photo: NDArray[np.uint8], level: int) -> None:
    moved = apply("jitter", photo, level)
    colours = [np.sort(image.astype(np.int64) @ [65536, 256, 1], axis=None) for image in (moved, photo)]
    np.testing.assert_array_equal(*colours)
    assert np.mean(np.any(moved != photo, axis=2)) > 0.3


def test_jitter_moves_pixels_about_as_far_as_it_says() -> None:
    """Where each pixel came from: its own coordinates are its colour."""
    y, x = np.mgrid[0:120, 0:120]
    home = np.stack([y, x, np.zeros_like(y)], axis=2).astype(np.uint8)
    for level in LEVELS:
        away = apply("jitter", home, level).astype(int) - home
        assert 0.4 * level < np.abs(away[:, :, :2]).mean() < 1.6 * level


# --- compression ---------------------------------------------------------------------------------------------------

# Tables K.1 and K.2 of the JPEG standard (ITU-T T.81), in rows.
LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
CHROMA = "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99" + " 99" * 32


@pytest.mark.parametrize(("level", "quality"), zip(LEVELS, (25, 18, 12, 8, 5), strict=True))
def test_jpeg_has_the_stated_quality(photo: NDArray[np.uint8], level: int, quality: int) -> None:
    """The pixels of a file written with tables computed here from the standard's, at the stated quality."""
    tables = [
        [min(max((int(number) * (5000 // quality) + 50) // 100, 1), 255) for number in table.split()]
        for table in (LUMA, CHROMA)
    ]
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", qtables=tables, subsampling="4:2:0")
    with Image.open(buffer) as file:
        assert isinstance(file, Image.Image)
        expected = np.asarray(file.convert("RGB"))
    np.testing.assert_array_equal(apply("jpeg", photo, level), expected)


@pytest.mark.parametrize(("level", "decibel"), zip(LEVELS, (29.0, 27.5, 26.0, 24.5, 23.0), strict=True))
def test_jpeg2000_has_the_stated_psnr(photos: Any, level: int, decibel: float) -> None:
    for name in ("chelsea", "coffee", "astronaut"):
        image = photos(name)
        found = skimage.metrics.peak_signal_noise_ratio(image, apply("jpeg2000", image, level))
        assert found == pytest.approx(decibel, abs=1.0)


# --- darken --------------------------------------------------------------------------------------------------------


def change_value(image: NDArray[np.uint8], change: Any) -> NDArray[np.float64]:
    hsv = rgb_to_hsv(as_unit(image))
    hsv[:, :, 2] = np.clip(change(hsv[:, :, 2]), 0, 1)
    return hsv_to_rgb(hsv)


@pytest.mark.parametrize(("level", "shift"), zip(LEVELS, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))
def test_shift_of_the_value(photo: NDArray[np.uint8], level: int, shift: float) -> None:
    expected = change_value(photo, lambda value: value - shift)
    assert abs(as_unit(apply("shift_hsv", photo, level)) - expected).max() <= 1 / 255


@pytest.mark.parametrize(("level", "gamma"), zip(LEVELS, (1.5, 1.8, 2.2, 2.7, 3.5), strict=True))
def test_gamma_of_the_value(photo: NDArray[np.uint8], level: int, gamma: float) -> None:
    expected = change_value(photo, lambda value: value**gamma)
    assert abs(as_unit(apply("gamma_hsv", photo, level)) - expected).max() <= 1 / 255


@pytest.mark.parametrize(("level", "shift"), zip(LEVELS, (0.1, 0.15, 0.2, 0.27, 0.35), strict=True))
def test_shift_of_the_colours(level: int, shift: float) -> None:
    found = apply("shift_rgb", np.array([[[0, 60, 200]]], dtype=np.uint8), level)
    expected = [0, max(0, round(60 - 255 * shift)), round(200 - 255 * shift)]
    assert abs(found[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("level", "gamma"), zip(LEVELS, (1.4, 1.7, 2.1, 2.6, 3.2), strict=True))
def test_gamma_of_the_colours(level: int, gamma: float) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = [round(255 * (value / 255) ** gamma) for value in range(256)]
    found = apply("gamma_rgb", every, level)
    assert abs(found[:, :, 1].ravel().astype(int) - expected).max() <= 1
    assert np.mean(found[:, :, 1].ravel() == expected) > 0.98


# --- all -----------------------------------------------------------------------------------------------------------
