"""The four distortions of the degradation task at five severities, as DQ-495K makes them.

Generators and parameters follow DepictQA's public build scripts (build_datasets/x_distortion), from which the paper's
DQ-495K subset comes. Every generator takes RGB uint8 (H, W, 3), a level 1-5 and a numpy Generator, and returns RGB
uint8 of the same shape. Two deliberate differences: results are rounded, not truncated, to 8 bits (truncation darkens
by half a level), and the pixel shuffles visit pixels in another order, so that they can be vectorised.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

Pixels = NDArray[np.uint8]
Generator = Callable[[Pixels, int, np.random.Generator], Pixels]


def distort(
    image: Pixels, distortion: str, severity: str, rng: np.random.Generator, generator: str | None = None
) -> tuple[Pixels, str]:
    """The image under one distortion, and the name of the generator used (drawn from `rng` unless named).

    image: RGB uint8 (H, W, 3). Distortion "null" returns the image itself and "none".
    Raises KeyError for an unknown generator and ValueError for an unknown severity.
    """
    if distortion == NULL:
        return image, "none"
    choices = GENERATORS[distortion]
    name = generator or list(choices)[rng.integers(len(choices))]
    return choices[name](np.ascontiguousarray(image), SEVERITIES.index(severity) + 1, rng), name


def unit_pixels(image: Pixels | Image.Image) -> NDArray[np.float32]:
    """RGB of 8 bits -> floats in [0, 1]."""
    return np.asarray(image, dtype=np.float32) / 255.0


def to_bytes(unit: NDArray) -> Pixels:
    """Floats -> RGB of 8 bits, clipped to [0, 1] and rounded."""
    return np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)


def through_file(image: Image.Image, kind: str, **settings: object) -> Image.Image:
    """The picture after it was written to a file of this format and read again."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    buffer.seek(0)
    with Image.open(buffer) as stored:
        return stored.convert("RGB")


# --- noise ---------------------------------------------------------------------------------------------------------


def gaussian_rgb(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    sigma = (0.05, 0.1, 0.15, 0.2, 0.25)[level - 1]
    return to_bytes(unit_pixels(image) + rng.normal(0.0, sigma, image.shape))


def gaussian_ycrcb(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    luma = (0.05, 0.06, 0.07, 0.08, 0.09)[level - 1]
    chroma = luma * (1.0, 1.45, 1.9, 2.35, 2.8)[level - 1]
    noise = rng.normal(0.0, 1.0, image.shape).astype(np.float32) * np.array([luma, chroma, chroma], dtype=np.float32)
    ycrcb = cv2.cvtColor(unit_pixels(image), cv2.COLOR_RGB2YCrCb) + noise
    return to_bytes(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB))


def speckle(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    scale = (0.14, 0.21, 0.28, 0.35, 0.42)[level - 1]
    unit = unit_pixels(image)
    return to_bytes(unit + unit * rng.normal(0.0, scale, image.shape))


def spatially_correlated(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    sigma = (0.08, 0.11, 0.14, 0.18, 0.22)[level - 1]
    return to_bytes(cv2.blur(unit_pixels(image) + rng.normal(0.0, sigma, image.shape).astype(np.float32), (3, 3)))


def poisson(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    photons = (80.0, 60.0, 40.0, 25.0, 15.0)[level - 1]
    return to_bytes(rng.poisson(unit_pixels(image) * photons) / photons)


def salt_and_pepper(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    amount = (0.01, 0.03, 0.05, 0.07, 0.10)[level - 1]
    draw = rng.random(image.shape)
    noisy = image.copy()
    noisy[draw < amount / 2] = 0
    noisy[draw > 1 - amount / 2] = 255
    return noisy


# --- blur ----------------------------------------------------------------------------------------------------------


def gaussian_blur(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _smooth(image, float(level))


def motion(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """Half a Gaussian along a line at a random angle, like the blur of a moving camera."""
    radius, sigma = ((5, 3), (10, 5), (15, 7), (15, 9), (20, 12))[level - 1]
    length = 2 * radius + 1
    weights = np.exp(-(np.arange(length) ** 2) / (2.0 * sigma**2))
    angle = np.deg2rad(rng.uniform(-90.0, 90.0))
    kernel = np.zeros((2 * length + 1, 2 * length + 1), dtype=np.float32)
    for step, weight in enumerate(weights):
        kernel[length + round(step * np.sin(angle)), length + round(step * np.cos(angle))] += weight
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.uint8)


def glass(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    sigma, shift, rounds = ((0.7, 1, 1), (0.9, 2, 1), (1.2, 2, 2), (1.4, 3, 2), (1.6, 4, 2))[level - 1]
    shuffled = _smooth(image, sigma)
    for _ in range(rounds):
        shuffled = _shuffle(shuffled, shift, rng)
    return _smooth(shuffled, sigma)


def lens(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    radius = (2, 3, 4, 6, 8)[level - 1]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    return cv2.filter2D(image, -1, disk / disk.sum()).astype(np.uint8)


def zoom(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """The mean of the picture and of its enlargements about the centre, up to the given factor in steps of 0.02."""
    factors = np.arange(1.0, (1.03, 1.06, 1.10, 1.15, 1.21)[level - 1], 0.02)
    height, width = image.shape[:2]
    total = unit_pixels(image)
    for factor in factors:
        matrix = np.array([[factor, 0, (1 - factor) * width / 2], [0, factor, (1 - factor) * height / 2]])
        total = total + cv2.warpAffine(unit_pixels(image), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return to_bytes(total / (len(factors) + 1))


def jitter(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _shuffle(image, level, rng)


def _smooth(image: Pixels, sigma: float) -> Pixels:
    # Four sigma on each side, where scikit-image truncates its Gaussian too.
    size = 2 * int(4.0 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(unit_pixels(image), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return to_bytes(blurred)


def _shuffle(image: Pixels, shift: int, rng: np.random.Generator) -> Pixels:
    """Swap every inner pixel with one at most `shift` away; the set of pixels stays the same.

    Pixels 2 * shift apart have neighbourhoods that do not touch, so each phase of that grid swaps at once.
    """
    shuffled = image.copy()
    height, width = image.shape[:2]
    for top in range(2 * shift):
        for left in range(2 * shift):
            rows = np.arange(shift + 1 + top, height - shift + 1, 2 * shift)
            columns = np.arange(shift + 1 + left, width - shift + 1, 2 * shift)
            if not len(rows) or not len(columns):
                continue
            y, x = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
            other_y = y + rng.integers(-shift, shift, y.size)
            other_x = x + rng.integers(-shift, shift, x.size)
            here = shuffled[y, x]
            shuffled[y, x] = shuffled[other_y, other_x]
            shuffled[other_y, other_x] = here
    return shuffled


# --- compression ---------------------------------------------------------------------------------------------------


def jpeg(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _through_file(image, "JPEG", quality=(25, 18, 12, 8, 5)[level - 1])


def jpeg2000(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    decibel = (29.0, 27.5, 26.0, 24.5, 23.0)[level - 1]
    return _through_file(image, "JPEG2000", quality_mode="dB", quality_layers=[decibel])


def _through_file(image: Pixels, kind: str, **settings: object) -> Pixels:
    return np.asarray(through_file(Image.fromarray(image), kind, **settings))


# --- darken --------------------------------------------------------------------------------------------------------


def shift_hsv(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _on_value(image, lambda value: value - 0.1 * level)


def shift_rgb(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return to_bytes(unit_pixels(image) - (0.1, 0.15, 0.2, 0.27, 0.35)[level - 1])


def gamma_hsv(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    gamma = (1.5, 1.8, 2.2, 2.7, 3.5)[level - 1]
    return _on_value(image, lambda value: value**gamma)


def gamma_rgb(image: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return to_bytes(unit_pixels(image) ** (1.4, 1.7, 2.1, 2.6, 3.2)[level - 1])


def _on_value(image: Pixels, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Pixels:
    hsv = cv2.cvtColor(unit_pixels(image), cv2.COLOR_RGB2HSV)
    hsv[:, :, 2] = np.clip(change(hsv[:, :, 2]), 0.0, 1.0)
    return to_bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


GENERATORS: dict[str, dict[str, Generator]] = {
    "noise": {
        "gaussian_rgb": gaussian_rgb,
        "gaussian_ycrcb": gaussian_ycrcb,
        "speckle": speckle,
        "spatially_correlated": spatially_correlated,
        "poisson": poisson,
        "salt_and_pepper": salt_and_pepper,
    },
    "blur": {
        "gaussian": gaussian_blur,
        "motion": motion,
        "glass": glass,
        "lens": lens,
        "zoom": zoom,
        "jitter": jitter,
    },
    "compression": {"jpeg": jpeg, "jpeg2000": jpeg2000},
    "darken": {"shift_hsv": shift_hsv, "shift_rgb": shift_rgb, "gamma_hsv": gamma_hsv, "gamma_rgb": gamma_rgb},
}
assert tuple(GENERATORS) == DISTORTIONS
