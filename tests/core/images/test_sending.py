"""Pictures as files: the bytes of the file wherever a plain reader sees the same pixels, else PNG of what is judged."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import decode_image
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.images.sending import media_type
from qinsight_cli.core.images.worker import WORKER


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned() -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


AS_IS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: saved(image, "JPEG", quality=40),
    "progressive": lambda image: saved(image, "JPEG", progressive=True),
    "grey jpeg": lambda image: saved(image.convert("L"), "JPEG"),
    "png": lambda image: saved(image, "PNG"),
    "palette": lambda image: saved(image.quantize(64), "PNG"),
}
AS_PNG: dict[str, Callable[[Image.Image], bytes]] = {
    "turned": lambda image: saved(image, "JPEG", **turned()),
    "cmyk": lambda image: saved(image.convert("CMYK"), "JPEG"),
    "webp": lambda image: saved(image, "WEBP", lossless=True),
    "tiff": lambda image: saved(image, "TIFF"),
    "transparent": lambda image: saved(_half_clear(image), "PNG"),
    "sixteen bits": lambda image: saved(Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 251), "PNG"),
}


def _half_clear(image: Image.Image) -> Image.Image:
    clear = image.convert("RGBA")
    clear.putalpha(128)
    return clear


def plainly(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("make", AS_IS.values(), ids=AS_IS)
def test_the_file_itself(make: Callable[[Image.Image], bytes], photo: NDArray[np.uint8]) -> None:
    data = make(Image.fromarray(photo))
    file, _ = WORKER.to_send(data)
    assert file == data
    assert np.array_equal(plainly(file), np.asarray(decode_image(data)[0]))


@pytest.mark.parametrize("make", AS_PNG.values(), ids=AS_PNG)
def test_png_of_the_pixels_that_are_judged(make: Callable[[Image.Image], bytes], photo: NDArray[np.uint8]) -> None:
    data = make(Image.fromarray(photo))
    file, _ = WORKER.to_send(data)
    assert media_type(file) == "image/png"
    assert file != data
    assert np.array_equal(plainly(file), np.asarray(decode_image(data)[0]))


def test_a_limit_of_pixels(photo: NDArray[np.uint8]) -> None:
    data = saved(Image.fromarray(photo), "JPEG")
    assert WORKER.to_send(data, target=Target(1, 1, 10**6))[0] == data
    file, _ = WORKER.to_send(data, target=Target(1, 1, 10_000))
    height, width, _ = plainly(file).shape
    assert 9_000 < width * height <= 10_000
    assert abs(width / height - photo.shape[1] / photo.shape[0]) < 0.03


def test_what_cannot_be_sent(photo: NDArray[np.uint8]) -> None:
    for data in (b"no picture", saved(Image.fromarray(photo), "JPEG")[:3000], saved(Image.new("L", (3000, 9)), "PNG")):
        with pytest.raises(ImageError):
            WORKER.to_send(data)
