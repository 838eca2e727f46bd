"""Safe opening of pictures: an upright 8-bit sRGB picture, or one line with the reason why not.

The steps, in this order: scale 16 bits and floats to 8 bits, convert colours to sRGB by the embedded ICC profile, blend
transparency onto `colour.BACKGROUND`, apply the EXIF orientation. An animation gives its first frame. A preview never
passes as the picture (`containers`). Camera raw and HEIC need the extra `photos`.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qinsight_cli.core import storage
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import colour, photos
from qinsight_cli.core.images.containers import HEIC, RAW, RAW_EXTENSIONS, TIFF_BEGINNINGS, kind_of

if TYPE_CHECKING:
    from PIL import Image

# The formats that Pillow may open: not EPS, which starts Ghostscript, and no rare formats.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
TOO_MANY = "pixels; make it smaller first"  # the end of the message on a picture above the limit
MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb (0.25 GiB of RGB)
MAX_BYTES = 1 << 30
LONGEST_SHAPE = 200  # largest ratio of the sides: a model cannot cut a longer strip into tokens

# EXIF orientation -> the name of the Pillow transposition that sets the picture upright.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class LoadedImage:
    """An upright RGB picture with the SHA-256 of its file, its size in pixels, and notes for the user."""

    image: Image.Image
    digest: str
    width: int
    height: int
    notes: tuple[str, ...] = ()


def load_image(path: str | os.PathLike[str]) -> LoadedImage:
    """A path -> an upright RGB picture. Raises ImageError; its message does not repeat the path."""
    data, digest = read_image(path)
    image, notes = decode_image(data, os.fspath(path))
    return LoadedImage(image, digest, image.width, image.height, notes)


def check_shape(width: int, height: int) -> None:
    """Raises ImageError for a strip that no model can read, in training as in inference."""
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise ImageError(f"{width} x {height} pixels: one side is over {LONGEST_SHAPE} times the other")


def read_image(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """A path -> (file bytes, their SHA-256 in hex), read once. Raises ImageError."""
    try:
        if storage.is_remote(path):
            return _checked(storage.read(os.fspath(path), 0, MAX_BYTES + 1))
        # Without O_NONBLOCK opening a named pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise ImageError("is a folder, not an image")
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("is not a regular file")
            if status.st_size > MAX_BYTES:
                raise ImageError(f"the file has {status.st_size:,} bytes; the limit is {MAX_BYTES:,}")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        address = "://" in os.fspath(path) and not storage.is_remote(path)
        raise ImageError("an address, not a file; save the picture first" if address else "no such file") from None
    except IsADirectoryError:
        raise ImageError("is a folder, not an image") from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ImageError("no such file: the name holds a NUL character") from None
    return _checked(data)


def _checked(data: bytes) -> tuple[bytes, str]:
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has more than {MAX_BYTES:,} bytes")
    return data, hashlib.sha256(data).hexdigest()


def decode_image(data: bytes, name: str = "", max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, tuple[str, ...]]:
    """File bytes -> (upright RGB picture, notes). Raises ImageError and nothing else, whatever the bytes.

    The extension of `name` helps to recognise camera raw files. A picture above `max_pixels` is refused before
    decoding.
    """
    image, notes = decode_plain(data, name, max_pixels)
    return image.convert("RGB"), notes


def decode_plain(data: bytes, name: str = "", max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, tuple[str, ...]]:
    """As `decode_image`, but a picture without colour stays in mode L, a quarter of the memory."""
    from PIL import Image, UnidentifiedImageError

    _quiet_pillow()
    if max_pixels > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    kind = kind_of(data, name)
    try:
        Image.init()  # else a format whose plugin is not loaded yet would be a KeyError
        photos.refuse(kind or "")
        if kind == RAW:
            image, note = photos.develop(data, max_pixels, _too_large(max_pixels))
            return image, (note,)
        formats = (*FORMATS, photos.register_heic()) if kind == HEIC else FORMATS
        with Image.open(io.BytesIO(data), formats=formats) as opened:
            return plain(opened, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if os.path.splitext(name)[1].lower() in RAW_EXTENSIONS:
            photos.refuse(RAW)
        if data.startswith(TIFF_BEGINNINGS):
            raise ImageError("a TIFF of a kind that cannot be read; save it with 8 or 16 bits and no float") from None
        raise ImageError(f"not an image of a known kind ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageError(f"too large: more than {max_pixels:,} {TOO_MANY}") from None
    except MemoryError:
        raise ImageError("too large: not enough memory to decode it; make it smaller first") from None
    except Exception as error:  # decoders raise almost anything on broken data
        raise ImageError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None


@functools.cache
def _quiet_pillow() -> None:
    """Silence Pillow's warnings: this module checks sizes and reports errors itself."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _too_large(max_pixels: int) -> str:
    return f"too large: {{width}} x {{height}} is more than {max_pixels:,} {TOO_MANY}"


def needs_turning(opened: Image.Image) -> bool:
    """Whether its EXIF orientation turns the picture. Unreadable EXIF data does not."""
    try:
        return opened.getexif().get(_ORIENTATION, 1) in _UPRIGHT
    except Exception:
        return False


def plain(opened: Image.Image, max_pixels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """An opened picture -> (upright, 8 bits, sRGB, mode L or RGB; notes). Raises ImageError, or what decoders raise."""
    if opened.width * opened.height > max_pixels:
        raise ImageError(_too_large(max_pixels).format(width=opened.width, height=opened.height))
    colour.check_layout(opened)
    notes: list[str] = []
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format not in ("MPO", "HEIF"):  # in these the first picture is the photo
        notes.append(f"first of {frames} frames")
    opened.load()
    try:
        orientation = opened.getexif().get(_ORIENTATION, 1)
    except Exception:
        orientation = 1
        notes.append("EXIF data unreadable, orientation unknown")
    image = colour.to_plain(opened, notes)
    if orientation in _UPRIGHT:
        from PIL import Image

        image = image.transpose(Image.Transpose[_UPRIGHT[orientation]])
    return image, tuple(notes)
