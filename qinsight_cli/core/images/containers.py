"""Recognition of camera raw, HEIC, video, and TIFF files that begin with a preview.

Camera raw files have a small preview before the photo, and most of them are TIFF files: a reader that takes the first
picture would rate the preview. They are recognised by their content, else by their extension.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

RAW_EXTENSIONS = (
    *(".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng", ".drf", ".eip", ".erf"),
    *(".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx"),
    *(".pxn", ".raf", ".raw", ".rw2", ".rwl", ".rwz", ".sr2", ".srf", ".srw", ".x3f"),
)
HEIC_EXTENSIONS = (".heic", ".heif", ".hif")
VIDEO_EXTENSIONS = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"),
)
RAW, HEIC, VIDEO, PREVIEW = "raw", "heic", "video", "preview"

_RAW_BEGINNINGS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR")
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_VIDEO_BRANDS = {b"qt  ", b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"3gp4", b"3gp5", b"3g2a"}

# Tags of TIFF 6.0, TIFF/EP and DNG.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SUB_IFDS = 254, 255, 256, 257, 262, 330
_CFA_REPEAT, _CFA_PATTERN, _DNG_VERSION = 33421, 33422, 50706
_WANTED = {_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SUB_IFDS}
_WANTED |= {_CFA_REPEAT, _CFA_PATTERN, _DNG_VERSION}
_SENSOR_DATA = {32803, 34892}  # photometric interpretations: colour filter array, linear raw
_REDUCED, _PAGE, _MASK = 1, 2, 4  # bits of NewSubfileType
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}  # field types
COPY, SHAPE = 9, 0.05  # a page of 3 x 3 times the pixels, whose sides have the same ratio within 5%
MOST_DIRECTORIES, MOST_ENTRIES, MOST_VALUES = 64, 4096, 64

Directory = dict[int, tuple[int, ...]]  # tag -> values, of the tags wanted here


def kind_of(data: bytes, name: str = "") -> str | None:
    """File bytes -> RAW, HEIC, VIDEO, PREVIEW (a TIFF whose first picture is not the photo), or None for any other.

    `name` counts only for a TIFF file whose content does not show that it comes from a camera.
    """
    if data.startswith(_RAW_BEGINNINGS):
        return RAW
    if data[4:8] == b"ftyp":
        return _media_kind(data)
    if data.startswith(TIFF_BEGINNINGS):
        if data[8:10] == b"CR" or os.path.splitext(name)[1].lower() in RAW_EXTENSIONS:
            return RAW
        return _tiff_kind(data)
    return None


def _media_kind(data: bytes) -> str | None:
    """The kind of an ISO media file, by its brands."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[at : at + 4] for at in (8, *range(16, end - 3, 4))}
    if data[8:12] == b"crx ":
        return RAW
    if b"avif" in brands or b"avis" in brands:
        return None
    if brands & _HEIC_BRANDS or data[8:12] in (b"mif1", b"msf1"):
        return HEIC
    return VIDEO if data[8:12] in _VIDEO_BRANDS else None


def _tiff_kind(data: bytes) -> str | None:
    found = list(directories(data))
    if not found:
        return None
    first = found[0][0]
    for directory, _ in found:
        sensor = set(directory.get(_PHOTOMETRIC, ())) & _SENSOR_DATA
        if sensor or any(tag in directory for tag in (_CFA_REPEAT, _CFA_PATTERN, _DNG_VERSION)):
            return RAW
    if _is_part(first):
        return PREVIEW
    return PREVIEW if any(_is_copied_small(first, *other) for other in found[1:]) else None


def _is_copied_small(first: Directory, other: Directory, below: bool) -> bool:
    """Whether `first` is a small copy of `other`: a larger picture nested in it, or a page of the same shape with at
    least `COPY` times the area."""
    if _is_part(other) or _area(other) <= _area(first):
        return False
    shapes = [_side(each, _WIDTH) / max(1, _side(each, _HEIGHT)) for each in (first, other)]
    alike = min(shapes) >= (1 - SHAPE) * max(shapes)
    paged = next(iter(first.get(_NEW_SUBFILE_TYPE, ())), 0) & _PAGE
    return below or (alike and not paged and _area(other) >= COPY * _area(first))


def _is_part(directory: Directory) -> bool:
    """Whether a directory is marked as a reduced copy of another picture, or as a mask."""
    flags = next(iter(directory.get(_NEW_SUBFILE_TYPE, ())), 0)
    return bool(flags & (_REDUCED | _MASK)) or directory.get(_SUBFILE_TYPE, ())[:1] == (2,)


def _area(directory: Directory) -> int:
    return _side(directory, _WIDTH) * _side(directory, _HEIGHT)


def _side(directory: Directory, tag: int) -> int:
    return next(iter(directory.get(tag, ())), 0)


def directories(data: bytes) -> Iterator[tuple[Directory, bool]]:
    """The directories of a TIFF or BigTIFF file in order, each with whether it is nested in another (SubIFDs).

    Stops silently if the file is broken, and after MOST_DIRECTORIES.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    seen: set[int] = set()
    try:
        (start,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
        waiting = [(start, False)]
        while waiting and len(seen) < MOST_DIRECTORIES:
            at, below = waiting.pop(0)
            if at in seen or not 0 < at < len(data):
                continue
            seen.add(at)
            directory, following = _directory(data, at, order, big)
            yield directory, below
            waiting += [(offset, True) for offset in directory.get(_SUB_IFDS, ())]
            if following:
                waiting.insert(0, (following, below))
    except struct.error:
        return


def _directory(data: bytes, at: int, order: str, big: bool) -> tuple[Directory, int]:
    """The directory at an offset -> (its tags, the offset of the next one or 0)."""
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
    head, size, inline = (8, 20, 8) if big else (2, 12, 4)
    tags: Directory = {}
    for index in range(min(count, MOST_ENTRIES)):
        entry = at + head + index * size
        tag, kind, values = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, entry)
        if tag not in _WANTED or kind not in _CODES:
            continue
        layout = f"{order}{min(values, MOST_VALUES)}{_CODES[kind]}"
        place = entry + size - inline
        if struct.calcsize(f"={_CODES[kind]}") * values > inline:
            (place,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, place)
        try:
            tags[tag] = struct.unpack_from(layout, data, place)
        except struct.error:
            tags[tag] = ()
    try:
        (following,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at + head + count * size)
    except struct.error:
        following = 0
    return tags, following
