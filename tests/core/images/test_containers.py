"""A preview is never taken for the photo: camera raw, HEIC, video, and TIFF files that begin with a small copy."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import decode_image, photos
from qinsight_cli.core.images.containers import HEIC, PREVIEW, RAW, VIDEO, directories, kind_of

SMALL = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8).tobytes()
SUBFILE, OLD_SUBFILE, PHOTOMETRIC, SUB_IFDS, DNG, CFA = 254, 255, 262, 330, 50706, 33422
Tags = dict[int, tuple[int, ...]]


def directory(order: str, at: int, tags: Tags, following: int) -> bytes:
    """A classic TIFF directory at an offset, all values as LONG, with what does not fit inline behind it."""
    body, more = b"", b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            more, data = more + data, struct.pack(f"{order}I", behind + len(more))
        body += struct.pack(f"{order}HHI", tag, 4, len(values)) + data
    return struct.pack(f"{order}H", len(tags)) + body + struct.pack(f"{order}I", following) + more


def tiff(first: Tags, below: Tags | None = None, after: Tags | None = None, order: str = "<") -> bytes:
    """A TIFF whose first picture is 16 x 12 RGB, with another directory in SubIFDs or behind it in the chain."""
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(SMALL))
    at = 8 + len(SMALL)
    base: Tags = {256: (16,), 257: (12,), 258: (8, 8, 8), 259: (1,), 262: (2,), 273: (8,), 277: (3,)}
    base |= {278: (12,), 279: (len(SMALL),), **first}
    if below is not None:
        base[SUB_IFDS] = (0,)
    end = at + len(directory(order, at, base, 0))
    if below is not None:
        base[SUB_IFDS] = (end,)
    other = base | {256: (800,), 257: (600,), **(below or after or {})}
    other.pop(SUB_IFDS, None)
    other = {tag: value for tag, value in other.items() if tag not in first or tag in (below or after or {})}
    following = end if after is not None else 0
    return magic + SMALL + directory(order, at, base, following) + directory(order, end, other, 0)


KINDS = [
    ({SUBFILE: (1,)}, {SUBFILE: (0,), PHOTOMETRIC: (32803,)}, None, RAW),  # DNG, NEF, ARW
    ({SUBFILE: (1,)}, {SUBFILE: (0,), PHOTOMETRIC: (34892,)}, None, RAW),  # linear DNG
    ({}, None, {PHOTOMETRIC: (32803,)}, RAW),  # a preview in front without a mark
    ({PHOTOMETRIC: (32803,)}, None, None, RAW),
    ({DNG: (1,)}, None, None, RAW),
    ({CFA: (1,)}, None, None, RAW),
    ({SUBFILE: (1,)}, {SUBFILE: (0,), PHOTOMETRIC: (2,)}, None, PREVIEW),
    ({SUBFILE: (1,)}, None, None, PREVIEW),
    ({OLD_SUBFILE: (2,)}, None, None, PREVIEW),
    ({SUBFILE: (4,)}, None, None, PREVIEW),
    ({}, {PHOTOMETRIC: (2,)}, None, PREVIEW),  # a SubIFD larger than what stands in front
    ({}, None, None, None),
    ({SUBFILE: (0,), OLD_SUBFILE: (1,)}, None, None, None),
    ({SUBFILE: (2,)}, None, {SUBFILE: (2,)}, None),  # pages
    ({SUBFILE: (3,)}, None, {SUBFILE: (2,)}, PREVIEW),  # a page, and a small copy
    ({}, None, {SUBFILE: (0,)}, PREVIEW),  # a small copy without a mark in front of the picture
    ({}, None, {256: (600,)}, None),  # another picture: another shape
    ({}, None, {256: (32,), 257: (24,)}, None),  # another picture: not much larger
    ({}, {SUBFILE: (1,), 256: (8,)}, None, None),  # a pyramid: the first is the picture
    ({}, None, {SUBFILE: (1,), 256: (8,)}, None),  # a thumbnail behind
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("first", "below", "after", "kind"), KINDS)
def test_which_picture_of_a_tiff_comes_first(
    first: Tags,
    below: Tags | None,
    after: Tags | None,
    kind: str | None,
    order: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photos, "can_read", lambda _: False)
    data = tiff(first, below, after, order)
    assert kind_of(data) == kind
    if kind is None:
        assert decode_image(data)[0].size == (16, 12)
    else:
        with pytest.raises(ImageError, match="preview"):
            decode_image(data)


def test_bigtiff_is_walked_too() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF", big_tiff=True, tiffinfo={SUBFILE: 1})
    assert kind_of(buffer.getvalue()) == PREVIEW
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF", big_tiff=True)
    assert kind_of(buffer.getvalue()) is None


def ftyp(brand: bytes, *more: bytes) -> bytes:
    body = b"ftyp" + brand + b"\0\0\0\0" + b"".join(more)
    return struct.pack(">I", 4 + len(body)) + body + b"\0" * 64


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40, "", RAW),
        (b"FUJIFILMCCD-RAW 0201", "", RAW),
        (b"IIU\0" + b"\0" * 40, "", RAW),
        (b"IIRO" + b"\0" * 40, "", RAW),
        (ftyp(b"crx ", b"isom"), "", RAW),
        (ftyp(b"heic", b"mif1"), "", HEIC),
        (ftyp(b"mif1", b"heic"), "", HEIC),
        (ftyp(b"mif1", b"avif"), "", None),
        (ftyp(b"avif", b"mif1"), "", None),
        (ftyp(b"qt  "), "", VIDEO),
        (ftyp(b"isom", b"mp42"), "", VIDEO),
        (tiff({}), "shot.IIQ", RAW),  # says nothing of itself: the extension does
        (tiff({}), "shot.tif", None),
        (b"\xff\xd8\xff\xe0", "renamed.nef", None),
    ],
)
def test_kinds_by_content_and_name(data: bytes, name: str, kind: str | None) -> None:
    assert kind_of(data, name) == kind


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (RAW, r"pip install 'qinsight\[photos\]'"),
        (HEIC, r"pip install 'qinsight\[photos\]'"),
        (VIDEO, "save its frames"),
        (PREVIEW, "export the full picture"),
    ],
)
def test_the_line_names_the_way_out(kind: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "can_read", lambda _: False)
    with pytest.raises(ImageError, match=words):
        photos.refuse(kind)


def test_an_unknown_file_with_a_raw_extension_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "can_read", lambda _: False)
    with pytest.raises(ImageError, match="camera raw"):
        decode_image(b"whatever a camera may write", "IMG_1.X3F")


def test_a_ring_of_directories_ends() -> None:
    data = tiff({SUB_IFDS: (8 + len(SMALL),)})
    assert len(list(directories(data))) == 1


@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"]))
def test_any_bytes_behind_a_beginning_give_a_kind_or_none(data: bytes, beginning: bytes) -> None:
    assert kind_of(beginning + data) in (RAW, PREVIEW, None)


# With the extra


def dng() -> bytes:
    """A DNG of 64 x 48 sensor values behind a preview of 16 x 12."""
    values = (np.mgrid[0:48, 0:64].sum(0) * 30 + 500).astype("<u2").tobytes()
    raw: dict[int, Any] = {SUBFILE: (0,), 256: (64,), 257: (48,), 258: (16,), 259: (1,), 262: (32803,), 273: (8,)}
    raw |= {277: (1,), 278: (48,), 279: (len(values),)}
    # CFARepeatPatternDim and CFAPattern must have their own types: patched into SHORT and BYTE below.
    raw |= {33421: (0x00020002,), CFA: (0x02010100,)}
    at = 8 + len(SMALL)
    first: Tags = {SUBFILE: (1,), 256: (16,), 257: (12,), 258: (8, 8, 8), 259: (1,), 262: (2,), 273: (8,), 277: (3,)}
    first |= {278: (12,), 279: (len(SMALL),), SUB_IFDS: (0,), DNG: (0x00000401,)}
    end = at + len(directory("<", at, first, 0))
    first[SUB_IFDS] = (end,)
    raw[273] = (end + len(directory("<", end, raw, 0)),)
    below = directory("<", end, raw, 0)
    below = below.replace(struct.pack("<HHI", 33421, 4, 1), struct.pack("<HHI", 33421, 3, 2))
    below = below.replace(struct.pack("<HHI", CFA, 4, 1), struct.pack("<HHI", CFA, 1, 4))
    above = directory("<", at, first, 0).replace(struct.pack("<HHI", DNG, 4, 1), struct.pack("<HHI", DNG, 1, 4))
    return b"II*\0" + struct.pack("<I", at) + SMALL + above + below + values


def test_camera_raw_at_full_size() -> None:
    pytest.importorskip("rawpy")
    image, notes = decode_image(dng())
    assert image.mode == "RGB"
    assert abs(image.width - 64) <= 8
    assert abs(image.height - 48) <= 8
    assert notes[0].startswith("camera raw, developed by LibRaw")
    across = np.asarray(image).mean(2)
    assert across[-8:, -8:].mean() > across[:8, :8].mean() + 20  # brighter to the lower right, as the sensor saw it
    with pytest.raises(ImageError, match="too large"):
        decode_image(dng(), max_pixels=1000)


def test_a_broken_raw_file_is_one_line() -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(ImageError, match="LibRaw cannot read"):
        decode_image(b"FUJIFILMCCD-RAW 0201" + b"\0" * 200)


def test_heic_at_full_size() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    smooth = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    pillow_heif.from_pillow(smooth).save(buffer, quality=90)
    image, notes = decode_image(buffer.getvalue())
    assert (image.size, notes) == ((96, 64), ())
    assert np.abs(np.asarray(image).astype(int) - np.asarray(smooth)).mean() < 3
