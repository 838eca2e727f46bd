"""Pictures of every kind against independent computations; broken ones against one clear line."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from encoded_pictures import NOISE, SMOOTH, encoded, pixels, png, wide_gamut
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import FORMATS, MAX_PIXELS, decode_image, load_image


def test_plain_pictures_come_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    data = encoded(Image.fromarray(NOISE), "PNG")
    path.write_bytes(data)
    loaded = load_image(str(path))
    assert (loaded.width, loaded.height, loaded.notes) == (48, 40, ())
    assert loaded.digest == hashlib.sha256(data).hexdigest()
    assert np.array_equal(np.asarray(loaded.image), NOISE)


# Orientation and frames


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_gives_the_upright_twin(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 90}}.get(kind, {})
    stored = Image.fromarray(SMOOTH)
    turned = pixels(encoded(stored, kind, exif=exif, **options))
    upright = TURNS[orientation](pixels(encoded(stored, kind, **options)))
    assert turned.shape == upright.shape
    assert np.abs(turned.astype(int) - upright).max() <= (3 if kind == "AVIF" else 0)


BROKEN_EXIF = b"Exif\0\0MM\0\x2a\xff\xff\xff\xff"


def test_broken_exif_costs_a_note_at_most() -> None:
    data = encoded(Image.fromarray(NOISE), "PNG", exif=BROKEN_EXIF)
    assert np.array_equal(pixels(data), NOISE)


@pytest.mark.parametrize(("kind", "frames"), [("GIF", 3), ("WEBP", 3), ("TIFF", 3), ("PNG", 3)])
def test_the_first_frame_is_taken_and_said(kind: str, frames: int) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)
    image, notes = decode_image(data)
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert notes == (f"first of {frames} frames",)


# What is refused


def refused(path: Path | str) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello, I am not a picture")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not an image of a known kind" in refused(tmp_path / "text.jpg")
    assert refused(tmp_path / "empty.jpg") == "the file is empty"
    assert refused(tmp_path) == "is a folder, not an image"
    assert refused(tmp_path / "missing.jpg") == "no such file"
    assert refused(tmp_path / "pipe.jpg") == "is not a regular file"
    assert "NUL" in refused("a\0b.jpg")
    assert "cannot be read" in refused("n" * 5000 + ".jpg")


def test_permission_denied_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr("os.open", refuse)
    assert refused(tmp_path / "a.jpg") == "cannot be read: Permission denied"


def test_eps_never_starts_an_interpreter() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ImageError, match="not an image of a known kind"):
        decode_image(eps)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(NOISE), kind)
    with pytest.raises(ImageError):
        decode_image(data[: int(len(data) * share)])


def test_truncated_progressive_jpeg_is_refused() -> None:
    data = encoded(Image.fromarray(NOISE), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="truncated"):
        decode_image(data[: len(data) // 2])


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    for side in (9460, 20_000):  # just over the limit, and beyond where Pillow itself refuses
        with pytest.raises(ImageError, match="too large"):
            decode_image(png(side, side, 8, 2, b"\0" * 100))
    assert 9459 * 9459 <= MAX_PIXELS < 9460 * 9460


def test_pillow_says_nothing_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(9460, 9460, 8, 2, b"\0" * 100))
    (tmp_path / "odd.png").write_bytes(encoded(Image.fromarray(NOISE), "PNG", exif=BROKEN_EXIF))
    words = "import sys; from qinsight_cli.core.images import decode_image\nfor p in sys.argv[1:]:\n"
    words += " try: decode_image(open(p, 'rb').read())\n except Exception as e: print(e)\n"
    names = [str(tmp_path / name) for name in ("bomb.png", "odd.png")]
    command = [sys.executable, "-W", "default::UserWarning", "-W", "default::RuntimeWarning", "-c", words, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("too large") == 1
    assert done.stderr == ""


def test_one_pixel_is_a_picture() -> None:
    assert pixels(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG")).tolist() == [[[9, 8, 7]]]


SEEDS = [
    *(encoded(Image.fromarray(SMOOTH[:12, :12]), kind) for kind in FORMATS),
    encoded(Image.fromarray(SMOOTH[:12, :12]), "TIFF", compression="tiff_lzw"),
    encoded(Image.fromarray(SMOOTH[:12, :12]).convert("CMYK"), "JPEG", icc_profile=wide_gamut()),
    encoded(Image.fromarray(SMOOTH[:12, :12, 0].astype(np.uint16) * 257), "PNG"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 12))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damaged_bytes_give_a_picture_or_an_image_error(data: bytes) -> None:
    with suppress(ImageError):
        assert decode_image(data)[0].mode == "RGB"
