"""Versions of one picture for comparisons, each with its pseudo-MOS.

A version is damaged by one of the four classes, resampled, sharpened, or super-resolved with artefacts.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageFilter

from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS_CLEAN, pseudo_mos
from qinsight_cli.core.data.varied_distortions import Rng, damaged
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

# Pseudo-MOS at five severities of kinds outside the paper's classes, from KADID-10k's means (Lin et al., 2019):
# resampling by the Gaussian blur it amounts to, sharpening and pixelation as they are; super-resolution a little below
# the resampling of its factor, since its artefacts come on top.
RESTORED = {
    "resampled": (4.2, 3.6, 2.9, 2.2, 1.5),
    "sharpened": (3.6, 2.6, 2.1, 1.6, 1.35),
    "super_resolved": (4.0, 3.3, 2.6, 2.0, 1.4),
    "pixelated": (3.9, 3.1, 2.6, 2.1, 1.5),
}
FACTORS = ((1.4, 1.9), (1.9, 2.6), (2.6, 3.6), (3.6, 5.5), (5.5, 9.0))  # of resampling and super-resolution
AMOUNTS = ((120, 200), (200, 320), (320, 480), (480, 700), (700, 1000))  # of sharpening, percent
DAMAGED_SHARE, CLEAN_SHARE = 0.6, 0.08
KERNELS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX)


def draw_version(rng: Rng) -> tuple[str, str]:
    """A kind and its severity: one of the four classes, a kind of `RESTORED`, or sometimes the picture itself."""
    draw = rng.random()
    if draw < CLEAN_SHARE:
        return NULL, NULL
    kinds = DISTORTIONS if draw < CLEAN_SHARE + DAMAGED_SHARE else tuple(RESTORED)
    return kinds[int(rng.integers(len(kinds)))], SEVERITIES[int(rng.integers(len(SEVERITIES)))]


def version_rating(kind: str, severity: str) -> float:
    """The pseudo-MOS of a kind at a severity."""
    if kind in RESTORED:
        return RESTORED[kind][SEVERITIES.index(severity)]
    return pseudo_mos(kind, severity)


def make_version(picture: Image.Image, kind: str, severity: str, rng: Rng) -> tuple[Image.Image, str, float]:
    """The version, the name of what made it, and its pseudo-MOS."""
    if kind == NULL:
        return picture, "none", PSEUDO_MOS_CLEAN
    if kind in DISTORTIONS:
        made, name = damaged(picture, kind, severity, rng, own=bool(rng.random() < 0.4))
        return made, name, version_rating(kind, severity)
    level = SEVERITIES.index(severity)
    low, high = (AMOUNTS if kind == "sharpened" else FACTORS)[level]
    strength = float(rng.uniform(low, high))
    if kind == "sharpened":
        made = picture.filter(ImageFilter.UnsharpMask(float(rng.uniform(1.0, 2.5)), round(strength), 0))
    else:
        small = (max(8, round(picture.width / strength)), max(8, round(picture.height / strength)))
        made = picture.resize(small, Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.BOX)
        kernel = Image.Resampling.NEAREST if kind == "pixelated" else KERNELS[int(rng.integers(3))]
        made = made.resize(picture.size, kernel)
        if kind == "super_resolved":
            made = _with_artefacts(made, level, rng)
    return made, kind, version_rating(kind, severity)


def _with_artefacts(picture: Image.Image, level: int, rng: Rng) -> Image.Image:
    """Sharpening halos, and invented texture at edges."""
    made = picture.filter(ImageFilter.UnsharpMask(float(rng.uniform(1.5, 3.0)), int(rng.integers(80, 180)), 0))
    if rng.random() < 0.5:
        return made
    pixels = np.asarray(made, dtype=np.float32)
    edges = cv2.GaussianBlur(np.abs(cv2.Laplacian(pixels.mean(2), cv2.CV_32F)), (0, 0), 3.0)
    texture = cv2.GaussianBlur(rng.standard_normal(edges.shape).astype(np.float32), (0, 0), 1.0)
    pixels += (texture * np.minimum(edges, 25.0) * rng.uniform(0.3, 0.5 + 0.2 * level))[..., None]
    return Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))


def barely_changed(picture: Image.Image, rng: Rng) -> Image.Image:
    """An invisible change of at most two grey levels."""
    pixels = np.asarray(picture).astype(np.int16) + rng.integers(-2, 3, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
