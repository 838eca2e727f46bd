"""The pictures that the Python API accepts: paths, PIL images, arrays and tensors, folders, and lists of these."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import MAX_PIXELS, plain, read_image
from qinsight_cli.core.images.find import find_images

if TYPE_CHECKING:
    from PIL import Image


class Pictures:
    """The pictures of one call, by name: a path is its own name, a picture in memory is "picture 0", "picture 1" ..."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, name: str) -> tuple[bytes, str]:
        """The bytes of a picture as a file, and their SHA-256. Raises ImageError."""
        data = self._files.get(name)
        return read_image(name) if data is None else (data, hashlib.sha256(data).hexdigest())

    def add(self, pictures: Any) -> tuple[list[str], bool]:
        """Pictures of any kind -> their names, and whether it was a single picture, not a folder or a list.

        Raises QInsightError for anything that is no picture.
        """
        if isinstance(pictures, (str, os.PathLike)):
            path = os.fspath(pictures)
            return (find_images([path]), False) if os.path.isdir(path) else ([path], True)
        if isinstance(pictures, Iterable) and not (hasattr(pictures, "__array__") or _is_pil(pictures)):
            return [name for each in pictures for name in self.add(each)[0]], False
        name = f"picture {len(self._files)}"
        self._files[name] = _file_of(pictures)
        return [name], True


def _is_pil(picture: Any) -> bool:
    from PIL import Image

    return isinstance(picture, Image.Image)


def _file_of(picture: Any) -> bytes:
    """A picture in memory -> the bytes of a PNG file: upright and in sRGB, as pictures from files."""
    if not _is_pil(picture):
        if not hasattr(picture, "__array__"):
            raise QInsightError(f"a {type(picture).__name__} is no picture: give a path, a PIL image or an array")
        picture = _from_array(picture)
    file = io.BytesIO()
    try:
        upright, _ = plain(picture, MAX_PIXELS)
    except (OSError, ValueError, ImageError) as error:
        raise QInsightError(f"a picture of mode {picture.mode} cannot be used: {error}") from None
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _from_array(picture: Any) -> Image.Image:
    """picture: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in uint8, bool, uint16, or floats in [0, 1]."""
    import numpy as np
    from PIL import Image

    if hasattr(picture, "detach"):  # a torch tensor, on any device
        picture = picture.detach().cpu()
    pixels = np.asarray(picture)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        shapes = "(height, width) or (height, width, 3 or 4)"
        raise QInsightError(f"an array of shape {pixels.shape} is no picture: its shape must be {shapes}")
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257)
    elif pixels.dtype == bool:
        pixels = pixels * 255.0
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise QInsightError("an array of floats must lie in [0, 1], or be uint8 in 0-255")
        pixels = np.round(pixels.astype(np.float64) * 255)
    elif pixels.dtype != np.uint8:
        raise QInsightError(f"an array of {pixels.dtype} is no picture: give uint8, uint16, bool or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)))
