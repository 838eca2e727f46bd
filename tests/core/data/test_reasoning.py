from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from qinsight_cli.core.data.reasoning import (
    COLOUR,
    CONTRAST,
    EXPOSURE,
    SHARPNESS,
    STATEMENTS,
    Measures,
    check_statements,
    describe_damage,
    describe_image,
    describe_pair,
    measure_image,
    word,
)
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


@pytest.mark.parametrize("scale", [EXPOSURE, CONTRAST, COLOUR, SHARPNESS])
def test_every_word_has_its_range(scale) -> None:
    cuts, words = scale
    assert len(words) == len(cuts) + 1 == len(set(words))
    assert list(cuts) == sorted(cuts)
    values = [cuts[0] - 1, *(cut + 1e-6 for cut in cuts)]
    assert [word(value, scale) for value in values] == list(words)


def test_what_is_said_is_what_was_measured(photo) -> None:
    """Word by word from the measures; near a cut point both words."""
    scales = {"exposure": EXPOSURE, "contrast": CONTRAST, "colour": COLOUR, "sharpness": SHARPNESS}
    nouns = {"exposure": "light", "contrast": "contrast", "colour": "colour", "sharpness": "detail"}
    margins = {measure: margin for measure, _, margin in STATEMENTS.values()}
    between_words = 0
    for number in range(40):
        pixels = np.clip(photo * (0.2 + 0.03 * number), 0, 255).astype(np.uint8)
        measures = measure_image(Image.fromarray(pixels))
        expected = []
        for name, ((low, high), (below, between, above)) in scales.items():
            value = getattr(measures, name)
            if abs(value - low) < margins[name]:
                words = f"{below} to {between}"
            elif abs(value - high) < margins[name]:
                words = f"{between} to {above}"
            else:
                words = below if value < low else between if value < high else above
            between_words += " to " in words
            expected.append(f"{words} {nouns[name]}")
        assert describe_image(measures) == f"The picture has {', '.join(expected)}."
        assert check_statements(describe_image(measures), measures) == (4, 4)
    assert between_words > 5


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("The picture has dark light, medium contrast, vivid colour, fair detail.", (4, 4)),
        ("The picture has bright light, low contrast, vivid colour.", (1, 3)),
        ("The picture has dark to balanced light, low to medium contrast.", (2, 2)),  # 15 from 75, 10 from 40
        ("The picture has balanced to bright light, medium to strong contrast, fair to crisp detail.", (1, 3)),
        ("The picture has dark to bright light.", (0, 1)),  # no two neighbours
        ("There is obvious blur: edges are smeared.", (0, 0)),
    ],
)
def test_statements_are_checked_against_the_measures(said: str, counted: tuple[int, int]) -> None:
    assert check_statements(said, Measures(exposure=60.0, contrast=50.0, colour=80.0, sharpness=0.3)) == counted


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_damage_is_named(distortion: str, severity: str, photo) -> None:
    measures = measure_image(Image.fromarray(photo))
    said = describe_image(measures, (distortion, severity))
    assert said.startswith(describe_image(measures) + " ")
    for text in (said, describe_damage(distortion, severity)):
        assert f" {severity} {distortion}" in text  # "darkening" begins with darken
        assert not any(other in text for other in (*DISTORTIONS, *SEVERITIES) if other not in (distortion, severity))


def test_no_damage_is_said_too(photo) -> None:
    said = describe_image(measure_image(Image.fromarray(photo)), ("null", "null"))
    assert said.endswith(" There is no added damage.")
    assert not any(word in said for word in (*DISTORTIONS, *SEVERITIES, "null"))


def test_a_comparison_says_of_each_what_is_said_of_it_alone(photo) -> None:
    pair = describe_pair(describe_damage("noise", "serious"), describe_damage("null", "null"))
    assert pair == "Image A has serious noise. Image B has no damage."
    assert describe_pair(describe_damage("pixelated", "slight"), "Nothing stands out.") == (
        "Image A has slight artefacts. Image B: Nothing stands out."
    )
    alone = describe_image(measure_image(Image.fromarray(photo)))
    assert describe_pair(alone, alone).split(" Image B has ")[1] == alone.removeprefix("The picture has ")


def test_a_picture_in_a_file_gives_what_its_pixels_give(photo) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    assert measure_image(Image.open(buffer)) == measure_image(Image.fromarray(photo))
