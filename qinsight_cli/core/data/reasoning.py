"""Reasoning for training rows: measured exposure, contrast, colour and sharpness, and the known damage.

The warm start of a small model learns these sentences. Every statement is either measured on the pixels here or
taken from the label of the row.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from PIL import Image

from qinsight_cli.core.tasks.degradation import NULL

# Measured on a picture scaled to this area, so that the words do not depend on resolution.
AREA = 256 * 256

# Cut points between the words below, near the 20 and 70 % quantiles over photos of BIQ2021 and BSDS500.
EXPOSURE = ((75, 150), ("dark", "balanced", "bright"))
CONTRAST = ((40, 62), ("low", "medium", "strong"))
COLOUR = ((22, 50), ("muted", "natural", "vivid"))
SHARPNESS = ((0.18, 0.5), ("soft", "fair", "crisp"))
# Noun -> the field of `Measures`, its words, and the margin around a cut point in which both words are used, as in
# "balanced to bright light". The margins hold about a third of the values.
STATEMENTS = {
    "light": ("exposure", EXPOSURE, 15.0),
    "contrast": ("contrast", CONTRAST, 6.0),
    "colour": ("colour", COLOUR, 7.0),
    "detail": ("sharpness", SHARPNESS, 0.08),
}

_SIGN = {
    "noise": "Grain covers the surfaces",
    "blur": "Edges are smeared",
    "compression": "Blocks and ringing show",
    "darken": "Shadows are lost",
}
_NOUN = {"noise": "noise", "blur": "blur", "compression": "compression", "darken": "darkening"}
_PICTURE = "The picture"
ARTEFACTS = "artefacts"  # kinds outside the four classes
CLEAN = "There is no added damage."


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
    import cv2  # comes with an extra; reading statements needs none

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


def phrase(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]], margin: float) -> str:
    """The word of a scale for a value; near a cut point the words on both sides, such as "dark to balanced"."""
    cuts, words = scale
    near = min(range(len(cuts)), key=lambda index: abs(value - cuts[index]))
    if abs(value - cuts[near]) < margin:
        return f"{words[near]} to {words[near + 1]}"
    return word(value, scale)


def statements(measures: Measures) -> list[str]:
    """One statement for each measure, such as "bright light"."""
    return [
        f"{phrase(getattr(measures, measure), scale, margin)} {noun}"
        for noun, (measure, scale, margin) in STATEMENTS.items()
    ]


def zones(text: str) -> dict[str, list[int]]:
    """For each noun the zones that a reasoning states: 0, 2, 4 are the words of its scale, 1 and 3 two neighbours.

    Two words that are no neighbours are -1.
    """
    found = {}
    for noun, (_, (_, words), _) in STATEMENTS.items():
        choice = "|".join(words)
        pairs = re.findall(rf"\b(?:({choice}) to )?({choice}) {noun}\b", text)
        places = [(words.index(low) if low else None, words.index(high)) for low, high in pairs]
        found[noun] = [2 * high if low is None else 2 * low + 1 if high == low + 1 else -1 for low, high in places]
    return found


def check_statements(text: str, measures: Measures) -> tuple[int, int]:
    """(right, all) of the statements in a reasoning, checked against the measures of the picture.

    A single word must be the word of the value; "balanced to bright" must lie within twice the margin of its cut point.
    """
    right = total = 0
    for noun, claimed in zones(text).items():
        measure, (cuts, words), margin = STATEMENTS[noun]
        value = getattr(measures, measure)
        for zone in claimed:
            total += 1
            if zone % 2 == 0:
                right += words[zone // 2] == word(value, (cuts, words))
            elif zone > 0:
                right += abs(value - cuts[zone // 2]) <= 2 * margin
    return right, total


def describe_image(measures: Measures, damage: tuple[str, str] | None = None) -> str:
    """A few words: the measures, then the damage (distortion, severity) if it is known."""
    text = f"{_PICTURE} has {', '.join(statements(measures))}."
    return text if damage is None else f"{text} {damage_sentence(*damage)}"


def damage_sentence(distortion: str, severity: str) -> str:
    """The severity comes last, at the same distance from the answer for every class: a small model learns to repeat a
    word by its place long before it learns to look for it (docs/tiny.md)."""
    return CLEAN if distortion == NULL else f"{_SIGN[distortion]}: there is {severity} {_NOUN[distortion]}."


def describe_pair(first: str, second: str) -> str:
    """The description of each picture (`describe_image`, `describe_damage`), as Image A and Image B."""
    return f"{_named(first, 'Image A')} {_named(second, 'Image B')}"


def _named(text: str, name: str) -> str:
    if text.startswith(_PICTURE):
        return name + text.removeprefix(_PICTURE)
    return f"{name}: {text}"


def describe_damage(distortion: str, severity: str) -> str:
    """The description of a picture with known damage that is one of two."""
    found = "no damage" if distortion == NULL else f"{severity} {_NOUN.get(distortion, ARTEFACTS)}"
    return f"{_PICTURE} has {found}."
