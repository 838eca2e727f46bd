from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from qinsight_cli.core.data import reasoning
from qinsight_cli.core.data.reasoning import COLOUR, CONTRAST, EXPOSURE, QUALITY, SHARPNESS, measure_image, word
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES


def test_exposure_contrast_and_colour_against_plain_sums(photo) -> None:
    image = Image.fromarray(photo)
    measures = measure_image(image)
    pixels = photo.astype(float)
    luma = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
    assert measures.exposure == pytest.approx(luma.mean(), abs=1.0)
    assert measures.contrast == pytest.approx(luma.std(), rel=0.06)  # scaling averages some of it away
    rg, yb = pixels[..., 0] - pixels[..., 1], (pixels[..., 0] + pixels[..., 1]) / 2 - pixels[..., 2]
    published = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert measures.colour == pytest.approx(published, rel=0.06)


@pytest.mark.parametrize(("colour", "exposure"), [("black", 0.0), ("white", 255.0), ((128, 128, 128), 128.0)])
def test_flat_pictures(colour, exposure: float) -> None:
    measures = measure_image(Image.new("RGB", (300, 200), colour))
    assert measures.exposure == pytest.approx(exposure, abs=0.01)
    assert (measures.contrast, measures.colour, measures.sharpness) == pytest.approx((0.0, 0.0, 0.0), abs=0.01)


def test_blur_is_softer_noise_grittier_and_grey_colourless(photo) -> None:
    image = Image.fromarray(photo)
    clean = measure_image(image)
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 40, photo.shape), 0, 255).astype(np.uint8)
    assert measure_image(image.filter(ImageFilter.GaussianBlur(4))).sharpness < clean.sharpness / 2
    assert measure_image(Image.fromarray(noisy)).sharpness > 2 * clean.sharpness
    assert measure_image(image.convert("L")).colour == pytest.approx(0.0, abs=0.01)


def test_measures_hardly_depend_on_the_resolution(photos) -> None:
    image = Image.fromarray(photos("astronaut"))
    large, small = measure_image(image.resize((1024, 1024), Image.Resampling.BICUBIC)), measure_image(image)
    for name in ("exposure", "contrast", "colour", "sharpness"):
        assert getattr(large, name) == pytest.approx(getattr(small, name), rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (3, 2)])
def test_tiny_and_odd_shapes(size: tuple[int, int]) -> None:
    assert all(np.isfinite(value) for value in vars(measure_image(Image.new("RGB", size, "red"))).values())


@pytest.mark.parametrize("scale", [EXPOSURE, CONTRAST, COLOUR, SHARPNESS, QUALITY])
def test_every_word_has_its_range(scale) -> None:
    cuts, words = scale
    assert len(words) == len(cuts) + 1 == len(set(words))
    assert list(cuts) == sorted(cuts)
    values = [cuts[0] - 1, *(cut + 1e-6 for cut in cuts)]
    assert [word(value, scale) for value in values] == list(words)


def test_what_is_said_is_what_was_measured(photo) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = np.clip(photo * (0.2 + 0.03 * number), 0, 255).astype(np.uint8)
        measures = measure_image(Image.fromarray(pixels))
        said = reasoning.describe_image(measures, rng, rating=1 + number / 10)
        expected = {
            word(measures.exposure, EXPOSURE),
            word(measures.contrast, CONTRAST),
            word(measures.colour, COLOUR),
            word(measures.sharpness, SHARPNESS),
            word(1 + number / 10, QUALITY),
        }
        assert all(part in said for part in expected), said


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_damage_is_named(distortion: str, severity: str, photo) -> None:
    said = reasoning.describe_image(
        measure_image(Image.fromarray(photo)), np.random.default_rng(1), damage=(distortion, severity)
    )
    assert severity in said
    assert distortion in said  # "darkening" begins with darken


def test_no_damage_is_said_too_and_wording_varies_with_the_generator(photo) -> None:
    measures = measure_image(Image.fromarray(photo))
    said = {reasoning.describe_image(measures, np.random.default_rng(i), damage=("null", "null")) for i in range(40)}
    assert len(said) > 10
    assert all(not any(severity in text for severity in SEVERITIES) for text in said)
    assert reasoning.describe_image(measures, np.random.default_rng(7)) == reasoning.describe_image(
        measures, np.random.default_rng(7)
    )


def test_a_comparison_names_both() -> None:
    said = reasoning.describe_pair(("noise", "serious"), ("null", "null"), (1.8, 4.7), np.random.default_rng(0))
    first, second = said.split(". ")
    assert all(part in first for part in ("Image A", "serious noise", "poor"))
    assert all(part in second for part in ("Image B", "no added distortion", "excellent"))


def test_a_picture_in_a_file_gives_what_its_pixels_give(photo) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    assert measure_image(Image.open(buffer)) == measure_image(Image.fromarray(photo))
