"""Every implementation of every distortion against measures of its own kind."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from qinsight_cli.core.data import distortion_implementations as made
from qinsight_cli.core.data import varied_distortions
from qinsight_cli.core.data.distortions import GENERATORS
from qinsight_cli.core.tasks.degradation import CLASSES, DISTORTIONS, NULL, SEVERITIES

SEEDS = (1, 2, 3, 4)
ALL = sorted({(kind, one.__name__): one for kind, many in made.IMPLEMENTATIONS.items() for one in many}.items())


def apply(implementation, picture: Image.Image, level: int, seed: int = 0, shrink: float = 1.0) -> NDArray[np.float64]:
    result = implementation(picture, level, np.random.default_rng(seed), shrink)
    assert result.size == picture.size
    assert result.mode == "RGB"
    return np.asarray(result, dtype=np.float64)


def of(kind: str):
    """The implementations of a class, once each."""
    return pytest.mark.parametrize("make", [one for (its, _), one in ALL if its == kind], ids=lambda one: one.__name__)


@pytest.fixture
def picture(photo) -> Image.Image:
    return Image.fromarray(photo[20:276, 60:380])


@pytest.fixture
def grey() -> Image.Image:
    return Image.new("RGB", (200, 160), (128, 128, 128))


@of("noise")
def test_noise_in_a_flat_picture_grows(make, grey: Image.Image) -> None:
    deviation = [np.mean([apply(make, grey, level, seed).std() for seed in SEEDS]) for level in range(5)]
    assert all(low < high for low, high in itertools.pairwise(deviation)), deviation
    assert abs(apply(make, grey, 2).mean() - 128) < 7, "noise does not darken"


@pytest.mark.parametrize("name", ["scikit_gaussian", "opencv_gaussian", "uniform_noise", "film_grain"])
@pytest.mark.parametrize("level", range(4))  # at the highest level clipping takes some of it
def test_the_deviation_is_within_its_bounds(name: str, level: int, grey: Image.Image) -> None:
    make = getattr(made, name)
    share = 0.8 if name == "film_grain" else 1.0
    low, high = made.NOISE[level]
    for seed in SEEDS:
        for shrink in (1.0, 0.8):
            found = apply(make, grey, level, seed, shrink).std() / 255 / share
            assert low / shrink * 0.95 - 0.002 < found < high / shrink * 1.05 + 0.002


@pytest.mark.parametrize("level", range(5))
def test_sensor_noise_is_normal_in_linear_light(level: int, grey: Image.Image) -> None:
    """Its deviation after sRGB's curve, by integration over a normal density."""
    z = np.linspace(-6, 6, 20_001)
    density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    mid = ((128 / 255 + 0.055) / 1.055) ** 2.4

    def deviation(strength: float) -> float:
        light = np.clip(mid + strength / 1.518 * z, 0, 1)
        shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        return float(np.sqrt(density @ shown**2 - (density @ shown) ** 2))

    low, high = made.NOISE[level]
    for seed in SEEDS:
        found = apply(made.sensor_noise, grey, level, seed).std() / 255
        assert deviation(low) * 0.98 - 0.001 < found < deviation(high) * 1.02 + 0.001


@pytest.mark.parametrize("level", range(5))
def test_the_share_of_impulses_is_within_its_bounds(level: int, grey: Image.Image) -> None:
    low, high = made.IMPULSES[level]
    for seed in SEEDS:
        noisy = apply(made.impulses, grey, level, seed)
        assert set(np.unique(noisy)) == {0, 128, 255}
        hit = noisy != 128
        assert (hit.all(2) == hit.any(2)).all(), "whole pixels"
        assert low * 0.9 < hit.mean() < high * 1.1


@of("blur")
def test_blur_takes_gradient_energy_away(make, picture: Image.Image) -> None:
    def energy(pixels: NDArray[np.float64]) -> float:
        grey = pixels.mean(2)
        return float((np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean())

    found = [energy(np.asarray(picture, dtype=np.float64))]
    found += [np.mean([energy(apply(make, picture, level, seed)) for seed in SEEDS]) for level in range(5)]
    assert all(sharp > soft for sharp, soft in itertools.pairwise(found)), found
    assert abs(apply(make, picture, 2).mean() - np.asarray(picture).mean()) < 6, "light is spread, not lost"


@pytest.mark.parametrize("make", [made.pillow_gaussian, made.scikit_blur, made.pillow_box])
@pytest.mark.parametrize("level", range(5))
def test_the_width_of_a_blurred_edge(make, level: int) -> None:
    """The derivative of a blurred step edge is the kernel; its deviation is sigma."""
    step = Image.fromarray(
        np.repeat(np.where(np.arange(160) < 80, 0, 255).astype(np.uint8)[None, :, None], 40, 0)[:, :, [0, 0, 0]]
    )
    low, high = made.BLUR[level]
    for seed in SEEDS:
        kernel = np.diff(apply(make, step, level, seed)[20, :, 0])
        places = np.arange(len(kernel))
        centre = (kernel * places).sum() / kernel.sum()
        sigma = np.sqrt((kernel * (places - centre) ** 2).sum() / kernel.sum())
        assert low * 0.85 < sigma < high * 1.08


@of("compression")
def test_compression_costs_ever_more_decibels(make, picture: Image.Image) -> None:
    clean = np.asarray(picture, dtype=np.float64)
    found = [
        np.mean([peak_signal_noise_ratio(clean, apply(make, picture, level, seed), data_range=255) for seed in SEEDS])
        for level in range(5)
    ]
    assert all(better > worse for better, worse in itertools.pairwise(found)), found
    assert 18 < found[-1] < found[0] < 36


@of("darken")
def test_darkening_takes_light(make, picture: Image.Image, grey: Image.Image) -> None:
    def luma(pixels: NDArray[np.float64]) -> float:
        return float((pixels @ [0.299, 0.587, 0.114]).mean())

    found = [luma(np.asarray(picture, dtype=np.float64))]
    found += [np.mean([luma(apply(make, picture, level, seed)) for seed in SEEDS]) for level in range(5)]
    assert all(light > dark for light, dark in itertools.pairwise(found)), found
    for level, (low, high) in enumerate(made.MID_GREY):
        for seed in SEEDS:
            assert low - 0.03 < apply(make, grey, level, seed).mean() / 255 < high + 0.03


@pytest.mark.parametrize(("name", "make"), ALL, ids=lambda one: one[1] if isinstance(one, tuple) else "")
def test_the_result_depends_on_the_generator_alone(name, make, picture: Image.Image) -> None:
    results = []
    for state in (1, 2):
        np.random.seed(state)
        cv2.setRNGSeed(state)
        results.append(apply(make, picture, 2, seed=5))
    assert np.array_equal(*results)
    assert not all(np.array_equal(results[0], apply(make, picture, 2, seed)) for seed in SEEDS)


@pytest.mark.parametrize(("distortion", "severity"), [*itertools.product(DISTORTIONS, SEVERITIES), (NULL, NULL)])
def test_every_class_and_severity(distortion: str, severity: str, photo) -> None:
    whole = Image.fromarray(photo)
    known = {
        *(one.__name__ for many in made.IMPLEMENTATIONS.values() for one in many),
        *(name for many in GENERATORS.values() for name in many),
    }
    sizes = {
        (round(width * scale), round(height * scale))
        for width, height in (*varied_distortions.SHAPES, *varied_distortions.SMALL_SHAPES)
        for scale in varied_distortions.SCALES
    }
    names = set()
    for seed in range(12):
        image, name = varied_distortions.varied(whole, distortion, severity, np.random.default_rng(seed))
        if seed < 2:
            again, _ = varied_distortions.varied(whole, distortion, severity, np.random.default_rng(seed))
            assert image.tobytes() == again.tobytes()
        assert image.mode == "RGB"
        assert image.size in sizes
        names.add(name)
    assert len(names) > 2
    if distortion == NULL:
        assert names <= {"as_it_is", "sharper", "brightness", "contrast", "saturation", "white_balance"}
    else:
        its = {one.__name__ for one in made.IMPLEMENTATIONS[distortion]} | set(GENERATORS[distortion])
        assert names <= its <= known


def test_edits_of_undistorted_parts_are_mild(photo) -> None:
    """The part before the edit is known from the same generator."""
    whole = Image.fromarray(photo)
    for seed in range(40):
        twin = np.random.default_rng(seed)
        part = np.asarray(varied_distortions.framed(whole, varied_distortions.frame_size(whole.size, twin), twin))
        image, _ = varied_distortions.varied(whole, NULL, NULL, np.random.default_rng(seed))
        pixels = np.asarray(image)
        assert structural_similarity(part, pixels, channel_axis=2) > 0.9
        assert np.abs(part.astype(int) - pixels).mean() < 26


def test_a_frame_needs_no_more_pixels_than_the_photo_has() -> None:
    rng = np.random.default_rng(0)
    small = False
    for photo in ((2000, 1500), (1500, 2000), (512, 512), (330, 330), (481, 321)):
        for _ in range(60):
            width, height = varied_distortions.frame_size(photo, rng)
            small |= (width, height) in varied_distortions.SMALL_SHAPES
            assert width * height <= photo[0] * photo[1] * 1.25  # the least shape of each form is taken all the same
    assert small
    assert varied_distortions.framed(Image.new("RGB", (50, 40)), (320, 320), rng).size == (320, 320)


def test_own_generators_are_those_of_distortions(picture: Image.Image) -> None:
    for distortion in DISTORTIONS:
        names = {
            varied_distortions.damaged(picture, distortion, "slight", np.random.default_rng(seed), own=True)[1]
            for seed in range(8)
        }
        assert names <= set(GENERATORS[distortion])
    assert set(made.IMPLEMENTATIONS) == set(CLASSES) - {NULL}


def test_damage_before_a_reduction_is_stronger(picture: Image.Image, grey: Image.Image) -> None:
    """What a reduction by half takes from the noise is made up for."""
    for seed in SEEDS:
        plain = apply(made.scikit_gaussian, grey, 0, seed).std()
        assert apply(made.scikit_gaussian, grey, 0, seed, shrink=0.5).std() == pytest.approx(2 * plain, rel=0.03)
