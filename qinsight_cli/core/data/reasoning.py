"""Reasoning for training rows, computed from the picture: exposure, contrast, colour, sharpness, and the damage known.

These sentences are what the warm start of a small model learns to say. Every statement is either measured on the
pixels here or is the label of the row; the wording varies with the random generator.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from qinsight_cli.core.tasks.degradation import NULL

# Measured on a picture scaled to this area, so that words do not depend on resolution.
AREA = 256 * 256

# Cut points between the words below, near the 5, 20, 70 and 90 % quantiles over photos of BIQ2021 and BSDS500.
EXPOSURE = ((45, 75, 150, 185), ("very dark", "rather dark", "balanced", "bright", "very bright"))
CONTRAST = ((25, 40, 62, 76), ("very flat", "low", "medium", "strong", "harsh"))
COLOUR = ((10, 22, 50, 75), ("nearly absent", "muted", "natural", "vivid", "very vivid"))
SHARPNESS = ((0.08, 0.18, 0.5, 0.8), ("very soft", "soft", "fairly sharp", "crisp", "very gritty"))
QUALITY = ((1.8, 2.6, 3.4, 4.2), ("bad", "poor", "fair", "good", "excellent"))  # the words of ITU-R BT.500

_OPENINGS = (
    "Exposure is {exposure}, contrast is {contrast} and colour is {colour}.",
    "The light is {exposure}, with {contrast} contrast and {colour} colour.",
    "The picture looks {exposure}; its contrast is {contrast}, its colour {colour}.",
    "With {contrast} contrast and {colour} colour, the exposure is {exposure}.",
)
_DETAIL = (
    "Fine detail is {sharpness}.",
    "Edges look {sharpness}.",
    "Texture appears {sharpness}.",
)
_DAMAGE = {
    "noise": ("random grain covers the surfaces", "speckles of noise disturb smooth areas"),
    "blur": ("edges are smeared by blur", "blur has washed out the detail"),
    "compression": ("compression leaves blocks and ringing", "coding artifacts break up the surfaces"),
    "darken": ("shadows are crushed by darkening", "the frame has been darkened"),
}
_FOUND = ("There is {severity} {name}: {evidence}.", "I see {severity} {name}; {evidence}.")
# Worded as _FOUND is, so that "no" and a severity are alternatives at the same place.
_CLEAN = ("There is no sign of added distortion.", "I see no sign of noise, blur, compression or darkening.")
_QUALITY_SENTENCES = (
    "Overall the quality is {quality}.",
    "I would call the quality {quality}.",
    "This makes for {quality} quality.",
)
_NOUN = {"noise": "noise", "blur": "blur", "compression": "compression", "darken": "darkening"}


@dataclass(frozen=True)
class Measures:
    """exposure: mean luma, 0-255. contrast: its standard deviation. colour: Hasler and Suesstrunk's colourfulness.
    sharpness: mean absolute Laplacian of luma over its standard deviation."""

    exposure: float
    contrast: float
    colour: float
    sharpness: float


def measure_image(image: Image.Image) -> Measures:
    """Measures of an RGB picture, after scaling to `AREA`."""
    scale = (AREA / (image.width * image.height)) ** 0.5
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    rgb = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), dtype=np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    red_green = rgb[..., 0] - rgb[..., 1]
    yellow_blue = (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread = float(np.hypot(red_green.std(), yellow_blue.std()))
    offset = float(np.hypot(red_green.mean(), yellow_blue.mean()))
    contrast = float(luma.std())
    detail = float(np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean())
    return Measures(float(luma.mean()), contrast, spread + 0.3 * offset, detail / (contrast + 1.0))


def word(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    """The word of a scale (cut points, words) for a value."""
    return scale[1][bisect_right(scale[0], value)]


def describe_image(
    measures: Measures,
    rng: np.random.Generator,
    rating: float | None = None,
    damage: tuple[str, str] | None = None,
) -> str:
    """A few sentences: what was measured, then the damage (distortion, severity) and the quality word when known."""

    def pick(choices: tuple[str, ...]) -> str:
        return choices[rng.integers(len(choices))]

    sentences = [
        pick(_OPENINGS).format(
            exposure=word(measures.exposure, EXPOSURE),
            contrast=word(measures.contrast, CONTRAST),
            colour=word(measures.colour, COLOUR),
        ),
        pick(_DETAIL).format(sharpness=word(measures.sharpness, SHARPNESS)),
    ]
    if damage is not None:
        sentences.append(damage_sentence(*damage, pick))
    if rating is not None:
        sentences.append(pick(_QUALITY_SENTENCES).format(quality=word(rating, QUALITY)))
    return " ".join(sentences)


def damage_sentence(distortion: str, severity: str, pick) -> str:
    if distortion == NULL:
        return pick(_CLEAN)
    return pick(_FOUND).format(severity=severity, name=_NOUN[distortion], evidence=pick(_DAMAGE[distortion]))


def describe_pair(
    first: tuple[str, str], second: tuple[str, str], ratings: tuple[float, float], rng: np.random.Generator
) -> str:
    """Why one of two pictures is better: the damage and the quality word of each."""

    def one(name: str, damage: tuple[str, str], rating: float) -> str:
        distortion, severity = damage
        found = "no added distortion" if distortion == NULL else f"{severity} {_NOUN[distortion]}"
        shape = ("{name} shows {found} and looks {quality}", "In {name} I see {found}, quality {quality}")[
            rng.integers(2)
        ]
        return shape.format(name=name, found=found, quality=word(rating, QUALITY))

    return f"{one('Image A', first, ratings[0])}. {one('Image B', second, ratings[1])}."
