"""Colours and depth of pictures against independent computations."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageCms

from encoded_pictures import NOISE, SMOOTH, encoded, pixels, png, profile, wide_gamut
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import decode_image
from qinsight_cli.core.images.colour import BACKGROUND

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)
    seen = pixels(encoded(Image.fromarray(values), kind))
    expected = np.round(values / 257).astype(np.uint8)
    assert np.array_equal(seen, np.repeat(expected[..., None], 3, axis=2))


def test_16_bit_colour_png_is_scaled_within_one_level() -> None:
    values = RNG.integers(0, 65536, (10, 12, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    seen = pixels(png(12, 10, 16, 2, rows))
    assert np.abs(seen - values / 257).max() <= 1


def tiff(strips: list[bytes], bits: list[int], order: str = "<", **tags: int) -> bytes:
    """A TIFF of `SMOOTH`'s size from its strips, with tags by the names below."""
    codes = {"compression": 259, "photometric": 262, "planes": 284, "predictor": 317, "extra": 338, "format": 339}
    entries = {256: [48], 257: [40], 258: bits, 259: [1], 262: [2], 277: [len(bits)], 278: [40]}
    entries |= {codes[name]: [value] * (len(bits) if name == "format" else 1) for name, value in tags.items()}
    data, places = b"", []
    for strip in strips:
        places.append(8 + len(data))
        data += strip
    entries |= {273: places, 279: [len(strip) for strip in strips]}
    at = 8 + len(data)
    body, more = struct.pack(f"{order}H", len(entries)), b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            more, packed = more + packed, struct.pack(f"{order}I", behind + len(more))
        body += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    return head + data + body + bytes(4) + more


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "depth"), [("RGB", "u1"), ("RGB", "u2"), ("RGBA", "u2"), ("CMYK", "u2"), ("LA", "u1")]
)
def test_a_tiff_of_separate_planes_is_read_right_or_refused(kind: str, depth: str, packed: bool, order: str) -> None:
    image = Image.fromarray(SMOOTH).convert(kind)
    planes = np.moveaxis(np.asarray(image), -1, 0).astype(f"{order}{depth}") * (257 if depth == "u2" else 1)
    strips = [zlib.compress(plane.tobytes()) if packed else plane.tobytes() for plane in planes]
    tags = {"planes": 2, "compression": 8 if packed else 1, "photometric": {"CMYK": 5, "LA": 1}.get(kind, 2)}
    tags |= {"extra": 2} if kind in ("LA", "RGBA") else {}
    data = tiff(strips, [8 * int(depth[1])] * len(planes), order, **tags)
    with suppress(ImageError):
        assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))
    if kind == "RGB" and (packed or depth == "u1"):
        pixels(data)
    if kind != "LA" and not packed and depth == "u2":
        with pytest.raises(ImageError, match="channels interleaved"):
            pixels(data)


@pytest.mark.parametrize("depth", ["i1", "i2"])
def test_signed_samples_are_refused(depth: str) -> None:
    grey = (SMOOTH[..., 0] // 3).astype(f"<{depth}")
    with pytest.raises(ImageError, match="signed pixels: the white value is unknown"):
        decode_image(tiff([grey.tobytes()], [8 * int(depth[1])], photometric=1, format=2))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_float_samples_are_read_right_or_refused(order: str, packed: bool) -> None:
    """Swapped bytes of 0.5 are 8.6e-44, which lies in [0, 1] too."""
    grey = np.full((40, 48), 0.5, f"{order}f4").tobytes()
    data = tiff(
        [zlib.compress(grey) if packed else grey], [32], order, photometric=1, format=3, compression=8 if packed else 1
    )
    if packed and order == ">":
        with pytest.raises(ImageError, match="big-endian and compressed"):
            decode_image(data)
    else:
        assert set(np.unique(pixels(data))) == {128}


def test_a_tiff_that_is_not_read_is_not_called_unknown() -> None:
    floats = np.zeros((40, 48, 3), np.float32).tobytes()
    with pytest.raises(ImageError, match="a TIFF of a kind that cannot be read; save it with 8 or 16 bits"):
        decode_image(tiff([floats], [32, 32, 32], format=3))


def test_an_empty_fourth_byte_of_a_bitmap_hides_nothing() -> None:
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"sRGB" + bytes(48)
    head = struct.pack("<IiiHHIIiiII", 108, 48, 40, 1, 32, 3, 0, 0, 0, 0, 0) + masks
    for alpha, seen in ((0, SMOOTH), (255, SMOOTH)):
        rows = np.dstack([SMOOTH[::-1, :, ::-1], np.full((40, 48), alpha, np.uint8)]).tobytes()
        bmp = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(head)) + head + rows
        assert np.array_equal(pixels(bmp), seen)


def test_a_picture_that_is_all_transparent_is_noted() -> None:
    image, notes = decode_image(encoded(Image.new("RGBA", (8, 8)), "PNG"))
    assert image.getpixel((3, 3)) == BACKGROUND
    assert notes == ("every pixel is transparent: only the background is visible",)


def test_a_tiff_of_white_is_zero_is_not_a_negative() -> None:
    values = np.array([[0, 65535], [30000, 257]], dtype=np.uint16)
    data = encoded(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    assert np.array_equal(pixels(data)[..., 0], 255 - np.round(values / 257))


def test_a_32_bit_picture_within_16_bits_is_read_and_one_beyond_is_refused() -> None:
    values = np.array([[0, 65535], [30000, 257]], dtype=np.int32)
    assert np.array_equal(pixels(encoded(Image.fromarray(values), "TIFF"))[..., 0], np.round(values / 257))
    with pytest.raises(ImageError, match="32-bit integer pixels"):
        decode_image(encoded(Image.fromarray(values * 1000), "TIFF"))


@pytest.mark.parametrize(("highest", "fine"), [(1.0, True), (1.5, False), (255.0, False), (float("nan"), False)])
def test_floats_are_read_from_0_to_1_and_refused_beyond(highest: float, fine: bool) -> None:
    values = np.array([[0.0, 0.5], [0.25, highest]], dtype=np.float32)
    data = encoded(Image.fromarray(values), "TIFF")
    if fine:
        assert np.array_equal(pixels(data)[..., 1], np.round(values * 255))
    else:
        with pytest.raises(ImageError, match="float pixels outside"):
            decode_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_an_embedded_profile_is_followed(kind: str) -> None:
    icc = wide_gamut()
    data = encoded(Image.fromarray(SMOOTH), kind, icc_profile=icc)
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    expected = ImageCms.profileToProfile(plain, io.BytesIO(icc), ImageCms.createProfile("sRGB"))
    assert expected is not None
    assert np.array_equal(pixels(data), np.asarray(expected))
    assert not np.array_equal(pixels(data), np.asarray(plain))


def renamed(icc: bytes, name: str) -> bytes:
    """A profile under another description, of any length."""
    start = 128
    (count,) = struct.unpack(">I", icc[start : start + 4])
    words = name.encode("utf-16-be")
    described = b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(words), 28) + words
    table, body, head = b"", b"", start + 4 + 12 * count
    for index in range(count):
        tag, offset, size = struct.unpack(">4sII", icc[start + 4 + 12 * index : start + 16 + 12 * index])
        content = described if tag == b"desc" else icc[offset : offset + size]
        body += b"\0" * (-len(body) % 4)
        table += struct.pack(">4sII", tag, head + len(body), len(content))
        body += content
    whole = bytearray(icc[:start] + struct.pack(">I", count) + table + body)
    whole[:4], whole[84:100] = struct.pack(">I", len(whole)), bytes(16)
    return bytes(whole)


def linear() -> bytes:
    """The primaries of sRGB in linear light."""
    data = bytearray(profile("sRGB"))
    (count,) = struct.unpack(">I", data[128:132])
    for index in range(count):
        tag, offset, _ = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            data[offset : offset + 12] = b"curv" + bytes(8)
            data[140 + 12 * index : 144 + 12 * index] = struct.pack(">I", 12)
    return bytes(data)


def to_linear(values: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, 0-255 -> 0-255."""
    scaled = values / 255
    return 255 * np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", ["GIMP built-in Linear sRGB", "linear light", "sRGB IEC61966-2.1", ""])
def test_what_a_profile_is_called_does_not_matter(name: str, grey: bool) -> None:
    intended = np.clip(SMOOTH, 60, 255)[..., 0] if grey else np.clip(SMOOTH, 60, 255)
    stored = Image.fromarray(np.round(to_linear(intended)).astype(np.uint8))
    seen = pixels(encoded(stored, "PNG", icc_profile=renamed(linear(), name))).astype(int)
    assert np.abs(seen - (intended[..., None] if grey else intended)).max() <= 4
    plain = pixels(encoded(Image.fromarray(NOISE), "PNG", icc_profile=renamed(profile("sRGB"), name)))
    assert np.array_equal(plain, NOISE)


def test_16_bits_are_followed_too_and_scaled_in_bands() -> None:
    values = np.linspace(0, 65535, 700 * 3).reshape(700, 3).astype(np.uint16)
    icc = renamed(linear(), "sRGB")
    seen = pixels(encoded(Image.fromarray(values), "PNG", icc_profile=icc))[..., 0].astype(int)
    light = np.round(values / 257) / 255
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(seen - 255 * curve).max() <= 2


def test_the_srgb_profile_changes_nothing() -> None:
    assert np.array_equal(pixels(encoded(Image.fromarray(NOISE), "PNG", icc_profile=profile("sRGB"))), NOISE)


def test_a_grey_picture_with_the_srgb_profile_is_plain_grey() -> None:
    image, notes = decode_image(
        encoded(Image.fromarray(NOISE[..., 0]), "JPEG", icc_profile=profile("sRGB"), quality=100)
    )
    assert notes == ()
    assert np.abs(np.asarray(image).astype(int) - NOISE[..., :1]).max() <= 3


@pytest.mark.parametrize("icc", [b"not a profile", profile("LAB")])
def test_an_unusable_profile_is_noted_and_ignored(icc: bytes) -> None:
    image, notes = decode_image(encoded(Image.fromarray(NOISE), "PNG", icc_profile=icc))
    assert np.array_equal(np.asarray(image), NOISE)
    assert notes == ("colour profile unusable, colours left unchanged",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile(kind: str) -> None:
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    data = encoded(cmyk, kind, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))
    assert np.abs(pixels(data).astype(int) - SMOOTH).max() <= (8 if kind == "JPEG" else 0)


def test_lab_is_converted() -> None:
    lab = ImageCms.profileToProfile(
        Image.fromarray(SMOOTH), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(pixels(encoded(lab, "TIFF")).astype(int) - SMOOTH).mean() < 3


def test_palettes_bits_and_grey() -> None:
    palette = Image.fromarray(NOISE).quantize(16)
    assert np.array_equal(pixels(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(NOISE).convert("1")
    assert np.array_equal(pixels(encoded(bits, "PNG"))[..., 2], np.asarray(bits) * 255)
    assert np.array_equal(pixels(encoded(Image.fromarray(NOISE[..., 0]), "PNG"))[..., 1], NOISE[..., 0])


def over_background(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    weight = alpha[..., None] / 255
    return colour * weight + np.array(BACKGROUND) * (1 - weight)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_the_background(kind: str) -> None:
    alpha = RNG.integers(0, 256, NOISE.shape[:2], dtype=np.uint8)
    image = Image.fromarray(np.dstack([NOISE, alpha]))
    data = encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.abs(pixels(data) - over_background(NOISE, alpha)).max() <= 1


def test_grey_with_alpha_and_a_transparent_palette() -> None:
    alpha = RNG.integers(0, 256, NOISE.shape[:2], dtype=np.uint8)
    grey = np.repeat(NOISE[..., :1], 3, axis=2)
    la = Image.merge("LA", [Image.fromarray(NOISE[..., 0]), Image.fromarray(alpha)])
    assert np.abs(pixels(encoded(la, "PNG")) - over_background(grey, alpha)).max() <= 1
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((0, 0), 0)
    seen = pixels(encoded(palette, "PNG", transparency=0))
    assert tuple(seen[0, 0]) == BACKGROUND
    assert tuple(seen[1, 1]) == (40, 50, 60)
