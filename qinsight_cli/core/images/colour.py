"""From any depth and colour space to 8-bit sRGB.

A profile is judged by the colours that it describes, not by its name.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

BACKGROUND = (255, 255, 255)
SAME = 2  # a profile that changes no colour by more levels is sRGB
ROWS = 256  # rows that are scaled to 8 bits at a time
_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 259, 262, 284, 339  # tags of TIFF


def to_plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode -> sRGB on `BACKGROUND`, mode RGB, or L where all three channels are the same.

    Raises ImageError for pixels whose white value is unknown, and Lab colours that cannot be converted.
    """
    from PIL import Image

    profile = image.info.get("icc_profile")
    alpha = None
    if image.mode.startswith("I") or image.mode == "F":
        image = to_8_bits(image)
    elif image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La")
        with_alpha = image.convert("RGBA")
        alpha = _seen(with_alpha.getchannel("A"), image.format, notes)
        image = with_alpha.getchannel("R") if grey else with_alpha.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile or image.mode == "LAB":
        image = _to_srgb(image, profile, notes)
    if alpha is not None:
        image = image.convert("RGB")
        return Image.composite(image, Image.new("RGB", image.size, BACKGROUND), alpha)
    return image if image.mode == "L" else image.convert("RGB")


def _seen(alpha: Image.Image, kind: str | None, notes: list[str]) -> Image.Image | None:
    """The opacity; None if it is meaningless: many programs leave the fourth byte of a BMP empty."""
    if alpha.getextrema()[1] == 0:
        if kind == "BMP":
            return None
        notes.append("every pixel is transparent: only the background is visible")
    return alpha


def check_layout(image: Image.Image) -> None:
    """Raise ImageError for a TIFF that Pillow reads wrongly, without an error.

    These are signed samples of up to 16 bits; compressed big-endian samples of 32 bits; and separate planes of Lab, of
    grey with alpha, or of 16 bits without compression.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    if 2 in tags.get(_SAMPLE_FORMAT, ()) and max(bits) <= 16:
        raise ImageError("signed pixels: the white value is unknown; save it with 8 or 16 bits, unsigned")
    raw = tags.get(_COMPRESSION, 1) == 1
    if tags.prefix == b"MM" and not raw and max(bits) > 16:
        raise ImageError(
            "a TIFF of 32 bits, big-endian and compressed, which cannot be read; save it with 8 or 16 bits"
        )
    misread = (raw and max(bits) > 8) or image.mode not in ("RGB", "RGBA", "RGBX", "CMYK")
    if tags.get(_PLANES, 1) == 2 and len(bits) > 1 and misread:
        raise ImageError("a TIFF of separate planes, which cannot be read; save it with its channels interleaved")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or of floats in [0, 1] -> grey of 8 bits, scaled from black to white, never clipped."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    lowest, highest = values.min(), values.max()
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        white = 1.0
        if not (lowest >= 0 and highest <= 1):  # also true of NaN
            raise ImageError("float pixels outside [0, 1]: the white value is unknown; save it with 8 or 16 bits")
    else:
        white = 65535.0
        if image.mode.startswith("I;") and image.format == "TIFF":
            white = 2.0 ** max(tags.get(_BITS_PER_SAMPLE, (16,))) - 1
        if not (lowest >= 0 and highest <= white):
            raise ImageError("32-bit integer pixels: the white value is unknown; save it with 8 or 16 bits")
    inverted = image.format == "TIFF" and tags.get(_PHOTOMETRIC) == 0  # "white is zero"
    grey = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), ROWS):  # few at a time: doubles take eight bytes a pixel
        scaled = values[start : start + ROWS].astype(np.float64) / white
        grey[start : start + ROWS] = np.round((1 - scaled if inverted else scaled) * 255)
    return Image.fromarray(grey)


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Colours through an ICC profile to sRGB; an unusable profile leaves the picture unchanged, with a note."""
    from PIL import ImageCms

    mode = image.mode
    try:
        if profile and mode == "L" and _colour_space(profile) == "RGB":
            mode = "RGB"  # grey pictures often keep the profile of their colour original
        transform = _transform(profile, mode)
        if transform is None:
            return image
        return ImageCms.applyTransform(image.convert(mode), transform) or image
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        if image.mode == "LAB":
            raise ImageError(f"Lab colours cannot be converted: {error}") from None
        notes.append("colour profile unusable, colours left unchanged")
        return image


def _colour_space(profile: bytes) -> str:
    return profile[16:20].decode("ascii", "replace").strip()


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> Any:
    """From a profile (None: Lab) to sRGB for pictures of a mode; None when the profile is sRGB itself.

    The test for sRGB compares colours: a needless conversion would change pictures by rounding.
    """
    from PIL import Image, ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode not in ("RGB", "L"):
        return transform
    probe = Image.frombytes("RGB", (len(_PROBE) // 3, 1), _PROBE)
    given = probe.convert(mode)
    seen = ImageCms.applyTransform(given, transform)
    assert seen is not None
    pairs = zip(given.convert("RGB").tobytes(), seen.tobytes(), strict=True)
    return None if max(abs(before - after) for before, after in pairs) <= SAME else transform


# Every grey, and a lattice of colours.
_STEPS = (0, 36, 73, 109, 146, 182, 219, 255)
_PROBE = bytes(value for level in range(256) for value in (level,) * 3)
_PROBE += bytes(value for red in _STEPS for green in _STEPS for blue in _STEPS for value in (red, green, blue))
