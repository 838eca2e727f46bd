"""Thumbnails for the gallery, as data URLs of limited size."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import MAX_PIXELS, read_image
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.images.worker import WORKER

if TYPE_CHECKING:
    from PIL import Image

PAGE_BYTES = 18_000_000  # of all pictures of a page, before base64 adds a third
MOST_BYTES = 160_000  # of one picture
SIDES = (1024, 768, 576, 432, 320, 224, 144, 96)
QUALITIES = (82, 70, 55)


def bytes_each(count: int) -> int:
    """The size limit of each of `count` thumbnails of a page, in bytes."""
    return min(MOST_BYTES, PAGE_BYTES // max(1, count))


def thumbnail(path: str, limit: int, max_pixels: int = MAX_PIXELS) -> str:
    """A picture as a WebP data URL of at most `limit` bytes before base64; "" if it cannot be read."""
    try:
        data, _ = read_image(path)
        picture, _ = WORKER.decode(data, path, max_pixels, Target(1, 1, SIDES[0] ** 2))
    except ImageError:
        return ""
    encoded = encode(picture, limit)
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}" if encoded else ""


def encode(picture: Image.Image, limit: int) -> bytes:
    """A picture as WebP of at most `limit` bytes, as large and as good as possible; b"" if no size fits."""
    from PIL import Image

    first = next((i for i, side in enumerate(SIDES) if side * side * 0.06 < limit), len(SIDES) - 1)
    for side in SIDES[first:]:
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            file = io.BytesIO()
            small.save(file, "WEBP", quality=quality, method=2)
            if file.tell() <= limit:
                return file.getvalue()
    return b""
