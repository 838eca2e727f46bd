"""Camera raw and HEIC through the extra `photos` (rawpy, pillow-heif), or the message that names it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.extras import install, is_installed
from qinsight_cli.core.images.containers import HEIC, PREVIEW, RAW, VIDEO

if TYPE_CHECKING:
    from PIL import Image

INSTALL = install("photos")
PACKAGES = {RAW: "rawpy", HEIC: "pillow_heif"}
SRGB_CURVE = (2.4, 12.92)


def can_read(kind: str) -> bool:
    """Whether the package for a kind of file is installed."""
    return is_installed(PACKAGES[kind])


def refuse(kind: str) -> None:
    """Raise ImageError for a kind of file that cannot be opened here."""
    if kind == RAW and not can_read(RAW):
        raise ImageError(
            "a camera raw file, whose small preview is not rated as if it were the photo; "
            f"for the full picture {INSTALL}, or export it as TIFF, PNG or JPEG"
        )
    if kind == HEIC and not can_read(HEIC):
        raise ImageError(f"a HEIC picture, which cannot be read here; {INSTALL}, or export it as PNG or JPEG")
    if kind == VIDEO:
        raise ImageError("a video, not an image; save its frames as PNG")
    if kind == PREVIEW:
        raise ImageError(
            "the first picture in this TIFF is a reduced-resolution preview or a mask, not the picture itself; "
            "export the full picture as TIFF, PNG or JPEG"
        )


def register_heic() -> str:
    """Make Pillow read HEIC, once. Returns the name of its format."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return "HEIF"


def develop(data: bytes, max_pixels: int, too_large: str) -> tuple[Image.Image, str]:
    """A camera raw file -> (its full-size picture, upright, in sRGB; a note of how it was made).

    The camera sets the white balance, LibRaw the brightness. Raises ImageError.
    """
    import rawpy
    from PIL import Image

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            if raw.sizes.width * raw.sizes.height > max_pixels:
                raise ImageError(too_large.format(width=raw.sizes.width, height=raw.sizes.height))
            pixels = raw.postprocess(use_camera_wb=True, output_bps=8, gamma=SRGB_CURVE)
    except rawpy.LibRawError as error:
        words = error.args[0] if error.args else "unknown error"
        words = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        raise ImageError(f"a camera raw file that LibRaw cannot read ({words}); export it as TIFF or PNG") from None
    version = ".".join(map(str, rawpy.libraw_version))
    return Image.fromarray(pixels).convert("RGB"), f"camera raw, developed by LibRaw {version}"
