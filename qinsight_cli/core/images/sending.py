"""Pictures as files for a server: the original bytes if every reader sees the same pixels in them, else PNG.

Lossy encoding would change the quality of the picture; PNG keeps every pixel.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from qinsight_cli.core.images import needs_turning

if TYPE_CHECKING:
    from PIL import Image

ACCEPTED = ("JPEG", "PNG")  # formats that every vision server reads
MODES = ("RGB", "L", "P")
PNG_EFFORT = 1  # of zlib: speed matters more than the last percent of the size
_TYPES = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png"}


def media_type(file: bytes) -> str:
    """The media type of the bytes of a JPEG or PNG file."""
    return _TYPES[file[:2]]


def same_for_all(data: bytes, image: Image.Image) -> bool:
    """Whether a simple reader sees the pixels of `image` in the file `data`: a reader without orientation, colour
    profiles, 16 bits and transparency."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        if opened.format == "MPO":
            opened.format = "JPEG"  # a JPEG with a second picture after it, which is not read
        kind = (opened.format in ACCEPTED, opened.mode in MODES)
        if not all(kind) or opened.size != image.size or needs_turning(opened):
            return False
        if opened.format == "JPEG" and opened.mode in ("RGB", "L") and not opened.info.get("icc_profile"):
            return True  # nothing can differ
        return opened.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=PNG_EFFORT)
    return file.getvalue()
