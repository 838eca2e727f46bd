"""The implementations behind `varied_distortions`: each damages an RGB picture in one way at a drawn strength."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from qinsight_cli.core.data.distortions import through_file, to_bytes, unit_pixels
from qinsight_cli.core.tasks.degradation import DISTORTIONS

Rng = np.random.Generator
# Bounds of the strength at severities 1-5; DQ-495K's own values lie between them.
NOISE = ((0.03, 0.07), (0.07, 0.125), (0.125, 0.175), (0.175, 0.225), (0.225, 0.3))  # standard deviation, 0-1
IMPULSES = ((0.005, 0.02), (0.02, 0.04), (0.04, 0.06), (0.06, 0.085), (0.085, 0.13))  # share of values
BLUR = ((0.9, 1.5), (1.5, 2.5), (2.5, 3.5), (3.5, 4.5), (4.5, 6.0))  # sigma in pixels
MOTION = ((5, 9), (9, 14), (14, 19), (19, 25), (25, 36))  # length in pixels
DISK = ((1.5, 2.5), (2.5, 3.5), (3.5, 5.0), (5.0, 7.0), (7.0, 9.5))  # radius in pixels
JPEG = ((21, 42), (15, 21), (10, 15), (7, 10), (4, 7))  # quality
WEBP = ((18, 38), (9, 18), (3, 9), (0, 3))  # quality; even the worst WebP is not catastrophic
AVIF = ((13, 24), (7, 13), (2, 7), (0, 2))  # quality, likewise
JPEG2000 = ((22, 36), (36, 55), (55, 80), (80, 110), (110, 160))  # times smaller than the raw pixels
MID_GREY = ((0.36, 0.43), (0.30, 0.36), (0.235, 0.30), (0.17, 0.235), (0.09, 0.17))  # the value that 0.5 becomes


def within(bounds: tuple[tuple[float, float], ...], level: int, rng: Rng) -> float:
    """A strength between the bounds of a level, on a logarithmic scale where that is possible."""
    low, high = bounds[level]
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if low > 0 else float(rng.uniform(low, high))


def to_picture(unit: NDArray) -> Image.Image:
    return Image.fromarray(to_bytes(unit))


def linear_light(unit: NDArray) -> NDArray:
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encoded_light(linear: NDArray) -> NDArray:
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


# Each takes a picture, a level 0-4, a random generator, and the factor by which the result will be downscaled.


def sensor_noise(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Photon and read noise in linear light; after encoding 0.7-0.95 of the level's strength at mid-grey."""
    sigma = within(NOISE, level, rng) / shrink
    unit = unit_pixels(image)
    linear = linear_light(unit)
    slope = 2.4 * 0.5 ** (1.4 / 2.4) / 1.055  # 1.5; that of the encoding curve at mid-grey is 1.1
    variance = (sigma / slope) ** 2 * (0.25 + 0.75 * linear / 0.214)
    return to_picture(encoded_light(linear + np.sqrt(variance) * rng.standard_normal(linear.shape).astype(np.float32)))


def scikit_gaussian(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    from skimage.util import random_noise

    sigma = within(NOISE, level, rng) / shrink
    return to_picture(random_noise(unit_pixels(image), "gaussian", rng=rng, var=sigma**2))


def opencv_gaussian(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    sigma = 255.0 * within(NOISE, level, rng) / shrink
    noise = np.empty((*np.asarray(image).shape,), np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, (0, 0, 0), (sigma, sigma, sigma))
    return Image.fromarray(cv2.add(np.asarray(image).astype(np.int16), noise, dtype=cv2.CV_8U))


def uniform_noise(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    reach = within(NOISE, level, rng) / shrink * np.sqrt(3.0)
    return to_picture(unit_pixels(image) + rng.uniform(-reach, reach, np.asarray(image).shape))


def film_grain(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """The same grain in all channels, a little softer than a pixel."""
    sigma = within(NOISE, level, rng) / shrink
    grain = cv2.GaussianBlur(rng.standard_normal((image.height, image.width)).astype(np.float32), (0, 0), 0.6)
    return to_picture(unit_pixels(image) + (0.8 * sigma * grain / grain.std())[..., None])


def chroma_noise(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Coarse specks of colour over a fine grain of luma, as small sensors produce in the dark."""
    sigma = within(NOISE, level, rng) / shrink
    ycc = cv2.cvtColor(unit_pixels(image), cv2.COLOR_RGB2YCrCb)
    size = (image.width, image.height)
    coarse = rng.standard_normal((image.height // 2 + 1, image.width // 2 + 1, 2)).astype(np.float32)
    ycc[..., 0] += 0.7 * sigma * rng.standard_normal((image.height, image.width)).astype(np.float32)
    ycc[..., 1:] += 0.55 * sigma * cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return to_picture(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))


def impulses(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Salt and pepper on whole pixels."""
    from skimage.util import random_noise

    amount = min(0.3, within(IMPULSES, level, rng) / shrink)
    mask = random_noise(np.full((image.height, image.width), 0.5), "s&p", rng=rng, amount=amount)
    pixels = np.array(image)
    pixels[mask == 0], pixels[mask == 1] = 0, 255
    return Image.fromarray(pixels)


def pillow_gaussian(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(within(BLUR, level, rng) / shrink))


def pillow_box(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """A box as wide as a Gaussian of the level's sigma."""
    sigma = within(BLUR, level, rng) / shrink
    return image.filter(ImageFilter.BoxBlur(float((np.sqrt(12 * sigma**2 + 1) - 1) / 2)))


def scikit_blur(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    from skimage.filters import gaussian

    return to_picture(gaussian(unit_pixels(image), within(BLUR, level, rng) / shrink, mode="reflect", channel_axis=-1))


def camera_shake(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """A straight or bent line at a random angle, evenly exposed."""
    length = within(MOTION, level, rng) / shrink
    steps = np.linspace(-0.5, 0.5, 4 * int(length) + 1)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8)
    turned = angle + bend * steps
    x, y = length * steps * np.cos(turned), length * steps * np.sin(turned)
    half = int(np.ceil(length / 2)) + 1
    kernel, _, _ = np.histogram2d(y, x, bins=2 * half + 1, range=[[-half - 0.5, half + 0.5]] * 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return to_picture(
        encoded_light(cv2.filter2D(linear_light(unit_pixels(image)), -1, kernel, borderType=cv2.BORDER_REFLECT))
    )


def defocus(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """An evenly lit disk in linear light: highlights grow."""
    radius = within(DISK, level, rng) / shrink
    half = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    linear = cv2.filter2D(linear_light(unit_pixels(image)), -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT)
    return to_picture(encoded_light(linear))


def enlarged(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Downscale and upscale again, which removes detail."""
    factor = 2.0 * within(BLUR, level, rng) / shrink
    small = (max(4, round(image.width / factor)), max(4, round(image.height / factor)))
    kernels = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)
    return image.resize(small, Image.Resampling.BOX).resize(image.size, kernels[int(rng.integers(3))])


def pillow_jpeg(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    quality, subsampling = round(within(JPEG, level, rng)), int(rng.integers(3))
    progressive = bool(rng.random() < 0.3)
    return through_file(image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)


def opencv_jpeg(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(within(JPEG, level, rng))]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), quality)
    return Image.fromarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def jpeg_twice(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Stored at low quality with a shifted block grid, then at high quality."""
    shift = tuple(int(rng.integers(8)) for _ in range(2))
    moved = Image.fromarray(np.roll(np.asarray(image), shift, (0, 1)))
    back = np.roll(np.asarray(pillow_jpeg(moved, level, rng, shrink)), (-shift[0], -shift[1]), (0, 1))
    return through_file(Image.fromarray(back), "JPEG", quality=int(rng.integers(75, 96)))


def webp(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    if level >= len(WEBP):
        return pillow_jpeg(image, level, rng, shrink)
    return through_file(image, "WEBP", quality=round(within(WEBP, level, rng)))


def avif(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    if level >= len(AVIF):
        return pillow_jpeg(image, level, rng, shrink)
    return through_file(image, "AVIF", quality=round(within(AVIF, level, rng)), speed=10, max_threads=1)


def jpeg2000_rate(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    rate = within(JPEG2000, level, rng)
    return through_file(image, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def exposure(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Less light: a factor below 1 in linear light."""
    target = linear_light(np.array(within(MID_GREY, level, rng)))
    return to_picture(encoded_light(linear_light(unit_pixels(image)) * (target / linear_light(np.array(0.5)))))


def pillow_brightness(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(2.0 * within(MID_GREY, level, rng))


def curve(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """A power curve through a table of 256 values."""
    power = np.log(within(MID_GREY, level, rng)) / np.log(0.5)
    table = np.rint(255.0 * (np.arange(256) / 255.0) ** power).astype(np.uint8)
    return Image.fromarray(cv2.LUT(np.asarray(image), table))


def lightness(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Lower L* in CIELAB; hues stay the same."""
    lab = cv2.cvtColor(unit_pixels(image), cv2.COLOR_RGB2LAB)
    lab[..., 0] *= 2.0 * within(MID_GREY, level, rng)
    return to_picture(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def crushed(image: Image.Image, level: int, rng: Rng, shrink: float) -> Image.Image:
    """Clip the shadows, and stretch the rest by less than would restore the brightness."""
    target = within(MID_GREY, level, rng)
    cut = rng.uniform(0.2, 0.8) * (0.5 - target)
    return to_picture((unit_pixels(image) - cut) * (target / (0.5 - cut)))


Implementation = Callable[[Image.Image, int, Rng, float], Image.Image]
IMPLEMENTATIONS: dict[str, tuple[Implementation, ...]] = {
    "noise": (sensor_noise, scikit_gaussian, opencv_gaussian, uniform_noise, film_grain, chroma_noise, impulses),
    "blur": (pillow_gaussian, pillow_box, scikit_blur, camera_shake, defocus, enlarged),
    "compression": (pillow_jpeg, pillow_jpeg, opencv_jpeg, jpeg_twice, webp, avif, jpeg2000_rate),
    "darken": (exposure, pillow_brightness, curve, lightness, crushed),
}
assert tuple(IMPLEMENTATIONS) == DISTORTIONS
