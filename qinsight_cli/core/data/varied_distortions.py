"""Noise, blur, compression and darkening by many other implementations than DQ-495K's, at many sizes and strengths.

A model that sees only one implementation of a distortion learns that implementation. Here each class uses several
libraries and formulas (`distortion_implementations.py`), at a strength drawn within the bounds of its severity, before
or after a change of size, and clean pictures come with the harmless edits that photos get. The bounds lie around the
strengths of DQ-495K's own generators (`distortions.py`), so that the five words mean the same.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from qinsight_cli.core.data.distortion_implementations import IMPLEMENTATIONS, Rng, to_picture
from qinsight_cli.core.data.distortions import distort, through_file, unit_pixels
from qinsight_cli.core.tasks.degradation import NULL, SEVERITIES

OWN_SHARE = 0.4  # share of pictures damaged by DQ-495K's own generators
RESIZED_SHARE = 0.35  # share of pictures downscaled after the damage
STORED_SHARE = 0.35  # share of pictures re-encoded as high-quality JPEG or WebP
# Sizes of framed pictures. There are only a few shapes, so that batches of one shape can be made. A model that sees
# 384 x 288 pixels scales some of them down, as it does with most photos, and sees others at full size.
SHAPES = ((320, 320), (384, 288), (288, 384), (384, 256), (256, 384))
SMALL_SHAPES = ((320, 224), (224, 320), (256, 256))
SCALES = (1.0, 1.25, 4 / 3, 1.6)
SMALL_SHARE = 0.15


def frame_size(photo: tuple[int, int], rng: Rng) -> tuple[int, int]:
    """A size for a part of a photo of (width, height); one that needs no upscaling, if possible."""
    if rng.random() < SMALL_SHARE:
        return SMALL_SHAPES[int(rng.integers(len(SMALL_SHAPES)))]
    upright = photo[1] > photo[0]
    shapes = [shape for shape in SHAPES if (shape[1] > shape[0]) == upright or shape[0] == shape[1]]
    width, height = shapes[int(rng.integers(len(shapes)))]
    largest = min(photo[0] / width, photo[1] / height)
    scales = [scale for scale in SCALES if scale <= largest] or [1.0]
    scale = scales[int(rng.integers(len(scales)))]
    return round(width * scale), round(height * scale)


def framed(photo: Image.Image, size: tuple[int, int], rng: Rng) -> Image.Image:
    """A random part of a photo in the shape of `size`, at least 60 % as large as it can be, scaled to `size`; mirrored
    half of the time."""
    largest = min(photo.width / size[0], photo.height / size[1])
    smallest = min(largest, max(1.0, 0.6 * largest))  # avoid parts with fewer pixels than the frame
    scale = float(rng.uniform(smallest, largest))
    width, height = min(photo.width, round(size[0] * scale)), min(photo.height, round(size[1] * scale))
    left, top = int(rng.integers(photo.width - width + 1)), int(rng.integers(photo.height - height + 1))
    part = resized(photo.crop((left, top, left + width, top + height)), size, rng)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def resized(image: Image.Image, size: tuple[int, int], rng: Rng) -> Image.Image:
    """Scaled by one of Pillow's and OpenCV's methods."""
    if size == image.size:
        return image
    method = int(rng.integers(5))
    if method == 4:
        return Image.fromarray(cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_AREA))
    kernels = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR, Image.Resampling.BOX)
    return image.resize(size, kernels[method])


def varied(photo: Image.Image, distortion: str, severity: str, rng: Rng) -> tuple[Image.Image, str]:
    """A part of an RGB photo under one distortion by a random implementation, and the implementation's name.

    "null" gives the part after a harmless edit, or unchanged.
    """
    size = frame_size(photo.size, rng)
    if distortion == NULL:
        image, name = _harmless(framed(photo, size, rng), rng)
        return (_stored(image, rng) if rng.random() < STORED_SHARE else image), name
    room = min(1.0, max(size[0] / photo.width, size[1] / photo.height))
    shrink = float(rng.uniform(max(0.6, room), 0.97)) if rng.random() < RESIZED_SHARE and room < 0.97 else 1.0
    own = rng.random() < OWN_SHARE
    if own and distortion in ("noise", "blur"):
        shrink = 1.0  # the strength of those generators cannot be raised to make up for it
    if distortion == "compression":
        shrink = max(shrink, 0.8)  # averaging would remove the blocks
    large = (round(size[0] / shrink), round(size[1] / shrink))
    image, name = damaged(framed(photo, large, rng), distortion, severity, rng, own, shrink)
    image = resized(image, size, rng)
    if distortion != "compression" and rng.random() < STORED_SHARE:
        image = _stored(image, rng)
    return image, name


def damaged(
    image: Image.Image, distortion: str, severity: str, rng: Rng, own: bool = False, shrink: float = 1.0
) -> tuple[Image.Image, str]:
    """An RGB picture under one distortion, and the implementation's name; `own` takes DQ-495K's generators.

    shrink  the factor by which the result will be downscaled later: the damage is that much stronger
    """
    if own:
        pixels, name = distort(np.asarray(image), distortion, severity, rng)
        return Image.fromarray(pixels), name
    choices = IMPLEMENTATIONS[distortion]
    make = choices[int(rng.integers(len(choices)))]
    return make(image, SEVERITIES.index(severity), rng, shrink), make.__name__


def _stored(image: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.7:
        return through_file(image, "JPEG", quality=int(rng.integers(82, 98)), subsampling=int(rng.integers(3)))
    return through_file(image, "WEBP", quality=int(rng.integers(86, 98)))


def _harmless(image: Image.Image, rng: Rng) -> tuple[Image.Image, str]:
    kind = int(rng.integers(8))
    if kind == 0:
        return image.filter(
            ImageFilter.UnsharpMask(float(rng.uniform(0.6, 1.5)), int(rng.integers(20, 70)), 2)
        ), "sharper"
    if kind == 1:
        return ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.94, 1.2))), "brightness"
    if kind == 2:
        return ImageEnhance.Contrast(image).enhance(float(rng.uniform(0.85, 1.15))), "contrast"
    if kind == 3:
        return ImageEnhance.Color(image).enhance(float(rng.uniform(0.6, 1.35))), "saturation"
    if kind == 4:
        return to_picture(unit_pixels(image) * rng.uniform(0.93, 1.08, 3).astype(np.float32)), "white_balance"
    return image, "as_it_is"
