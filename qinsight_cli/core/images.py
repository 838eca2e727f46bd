"""Find pictures and open them safely: one 8-bit sRGB picture, upright, or one line that says why not.

What is done to the pixels, in this order: EXIF orientation, 16 bits and floats scaled to 8 bits, colours through the
embedded ICC profile to sRGB, transparency laid on `BACKGROUND`. Of an animation the first frame is taken.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import io
import os
import re
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from qinsight_cli.core.errors import ImageError, QInsightError

if TYPE_CHECKING:
    from PIL import Image

# What Pillow may open. EPS is left out for good (it starts Ghostscript), rare formats for safety.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
# What is taken from a folder. HEIC cannot be read; it is taken all the same, to show as an error and not go missing.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".gif"),
    *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".heic", ".heif"),
)
MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb (0.25 GiB of RGB)
MAX_BYTES = 1 << 30
LONGEST_SHAPE = 200  # pictures longer than this many times their width cannot be cut into a model's tokens
BACKGROUND = (255, 255, 255)

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
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 258, 262


@dataclass(frozen=True)
class LoadedImage:
    """An upright RGB picture with the SHA-256 of its file, its size in pixels, and what a reader should know of it."""

    image: Image.Image
    digest: str
    width: int
    height: int
    notes: tuple[str, ...] = ()


def find_images(arguments: Sequence[str], stdin: BinaryIO | None = None, limit: int | None = None) -> list[str]:
    """Files, folders, globs and `-` -> paths, in the order given; folders and globs sorted naturally.

    A name that exists is never read as a glob. A missing file with an image extension stays in the list, so that it
    becomes a row with an error. `-` reads one name a line from `stdin` (or NUL-separated), each taken literally.
    Raises QInsightError for a missing folder, a glob that matches nothing, or when nothing is found at all.
    """
    found: list[str] = []
    for argument in arguments:
        if argument == "-":
            for name in _read_names(stdin):
                found += _folder(name) if os.path.isdir(name) else [name]
        elif os.path.isdir(argument):
            found += _folder(argument)
        elif os.path.lexists(argument):
            found.append(argument)
        elif glob.has_magic(argument):
            found += _glob(argument)
        elif _is_image_name(argument):
            found.append(argument)
        else:
            raise QInsightError(f"no such file or folder: {argument}")
    if not found:
        raise QInsightError("no images given: name files, folders or globs, or send a list to -")
    return found[:limit]


def _read_names(stdin: BinaryIO | None) -> list[str]:
    data = stdin.read() if stdin is not None else b""
    names = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def _is_image_name(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in EXTENSIONS


def natural(path: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts img2 before img10, the same on every machine."""
    parts = re.split(r"([0-9]+)", path)
    return [(1, int(part), "") if i % 2 else (0, 0, part.lower()) for i, part in enumerate(parts)], path


def _folder(folder: str) -> list[str]:
    """The image files under a folder by extension; hidden ones and links to folders are left out."""

    def stop(error: OSError) -> None:
        raise QInsightError(f"cannot read the folder {error.filename}: {error.strerror}; name the files instead")

    found = []
    for root, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(root, name) for name in names if not name.startswith(".") and _is_image_name(name)]
    if not found:
        raise QInsightError(f"no images in the folder {folder} (looked for {', '.join(EXTENSIONS)})")
    return sorted(found, key=natural)


def _glob(pattern: str) -> list[str]:
    found = [path for path in glob.glob(pattern, recursive=True) if _is_image_name(path) and not os.path.isdir(path)]
    if not found:
        raise QInsightError(f"nothing matches {pattern}: no image files there")
    return sorted(found, key=natural)


def load_image(path: str | os.PathLike[str]) -> LoadedImage:
    """A path -> an upright RGB picture. Raises ImageError; its message does not repeat the path."""
    data, digest = read_image(path)
    image, notes = decode_image(data)
    return LoadedImage(image, digest, image.width, image.height, notes)


def check_shape(width: int, height: int) -> None:
    """Raises ImageError for a strip that no model can read, in training as in inference."""
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise ImageError(f"{width} x {height} pixels: one side is over {LONGEST_SHAPE} times the other")


def read_image(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """A path -> (file bytes, their SHA-256 in hex), read once. Raises ImageError."""
    try:
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
        raise ImageError("no such file") from None
    except IsADirectoryError:
        raise ImageError("is a folder, not an image") from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ImageError("no such file: the name holds a NUL character") from None
    if not data:
        raise ImageError("the file is empty")
    return data, hashlib.sha256(data).hexdigest()


def decode_image(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """File bytes -> (upright RGB picture, notes). Raises ImageError and nothing else, whatever the bytes."""
    from PIL import Image, UnidentifiedImageError

    _quiet_pillow()
    try:
        Image.init()  # else a format whose plugin is not loaded yet would be a KeyError
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            return _decode(opened)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"not an image of a known kind ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageError(f"too large: more than {MAX_PIXELS:,} pixels; make it smaller first") from None
    except MemoryError:
        raise ImageError("too large: not enough memory to decode it; make it smaller first") from None
    except Exception as error:  # decoders raise almost anything on broken data
        raise ImageError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None


@functools.cache
def _quiet_pillow() -> None:
    """Sizes are checked here and errors are told in one line; Pillow's own warnings would only be noise on stderr."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _decode(opened: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if opened.width * opened.height > MAX_PIXELS:
        raise ImageError(
            f"too large: {opened.width} x {opened.height} is more than {MAX_PIXELS:,} pixels; make it smaller first"
        )
    notes = []
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":  # in MPO the first picture is the photo, the others belong to it
        notes.append(f"first of {frames} frames")
    opened.load()
    try:
        orientation = opened.getexif().get(_ORIENTATION, 1)
    except Exception:
        orientation = 1
        notes.append("EXIF data unreadable, orientation unknown")
    image = _to_rgb(opened, notes)
    if orientation in _UPRIGHT:
        from PIL import Image

        image = image.transpose(Image.Transpose[_UPRIGHT[orientation]])
    return image, tuple(notes)


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode -> RGB in sRGB on `BACKGROUND`."""
    from PIL import Image

    profile = image.info.get("icc_profile")
    alpha = None
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image)
    elif image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La")
        with_alpha = image.convert("RGBA")
        alpha = with_alpha.getchannel("A")
        image = with_alpha.getchannel("R") if grey else with_alpha.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile or image.mode == "LAB":
        image = _to_srgb(image, profile, notes)
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, BACKGROUND), alpha)
    return image


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or of floats in [0, 1] -> grey of 8 bits, scaled from black to white, never clipped."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    lowest, highest = values.min(), values.max()
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        white = 1.0
        if not (lowest >= 0 and highest <= 1):  # also true of NaN
            raise ImageError("float pixels outside [0, 1]: no value is known to be white; save it with 8 or 16 bits")
    else:
        white = 65535.0
        if image.mode.startswith("I;") and image.format == "TIFF":
            white = 2.0 ** max(tags.get(_BITS_PER_SAMPLE, (16,))) - 1
        if not (lowest >= 0 and highest <= white):
            raise ImageError("32-bit integer pixels: no value is known to be white; save it with 8 or 16 bits")
    scaled = values / white
    if image.format == "TIFF" and tags.get(_PHOTOMETRIC) == 0:  # "white is zero"
        scaled = 1 - scaled
    return Image.fromarray(np.round(scaled * 255).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Colours through an ICC profile to sRGB; an unusable profile leaves the picture as it is, with a note."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        # Grey pictures often carry the sRGB profile; taken by the letter it could not be used on one channel.
        if image.mode in ("RGB", "L") and "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        if image.mode == "LAB":
            raise ImageError(f"Lab colours cannot be converted: {error}") from None
        notes.append("colour profile unusable, colours taken as they are")
        return image
    return converted or image
