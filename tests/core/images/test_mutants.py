"""Mutants of every format, cut and with flipped bits, and a corpus where there is one: a picture or one line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import FORMATS
from qinsight_cli.core.images.worker import Worker
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.report.rows import row_of
from qinsight_cli.core.tasks import score

PICTURE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (24, 20, 3), dtype=np.uint8))
KEPT = (0.01, 0.2, 0.6, 0.95, 0.999)
FLIPS = 12


def mutants(kind: str) -> list[bytes]:
    """The same every time: cuts at `KEPT` of the length, and one bit flipped at `FLIPS` places."""
    buffer = io.BytesIO()
    PICTURE.save(buffer, kind)
    data = buffer.getvalue()
    found = [data[: max(1, int(len(data) * share))] for share in KEPT]
    for place in np.random.default_rng(11).integers(0, len(data), FLIPS).tolist():
        mutant = bytearray(data)
        mutant[place] ^= 1 << place % 8
        found.append(bytes(mutant))
    return found


def outcome(call: Callable[[], Image.Image]) -> str:
    """The mode of the picture, or the error."""
    try:
        return call().mode
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("kind", FORMATS)
def test_mutants_are_a_picture_or_one_line(kind: str) -> None:
    worker = Worker()
    seen = [outcome(lambda data=data: worker.decode(data)[0]) for data in mutants(kind)]  # type: ignore[misc]
    assert not [words for words in seen if "\n" in words]
    worker.stop()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def head(width: int, height: int, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)


ZEROS = zlib.compress(bytes(60 << 20), 9)  # 60 MB in 60 kB
BOMBS = {
    "a header of 2 gigapixels": png(head(60_000, 40_000), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")),
    "the largest header": png(head(2**31 - 1, 2**31 - 1), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")),
    "a text that unpacks": png(head(8, 8), (b"zTXt", b"a\0\0" + ZEROS), (b"IDAT", zlib.compress(bytes(8 * 25)))),
    "a profile that unpacks": png(head(8, 8), (b"iCCP", b"a\0\0" + ZEROS), (b"IDAT", zlib.compress(bytes(8 * 25)))),
    "many texts": png(head(8, 8), *[(b"tEXt", b"a\0" + b"x" * 60_000)] * 500),
    "data behind the picture": png(head(8, 8), (b"IDAT", ZEROS), (b"IEND", b"")),
    "a canvas of GIF": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "a portable map": b"P6 60000 40000 255\n\0",
    "a bitmap": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 60_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "a list of TIFF without end": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_a_small_picture_or_one_line(name: str) -> None:
    resource = pytest.importorskip("resource")
    worker = Worker()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    width, words = 0, ""
    try:
        width = worker.decode(BOMBS[name])[0].width
    except ImageError as error:
        words = str(error)
    assert width <= 8
    assert "\n" not in words
    worker.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the processes that have ended
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20


def test_a_corpus_of_odd_files() -> None:
    """A row for each, with a rating or one line that says why not. QINSIGHT_CORPUS names a folder such as Pillow's
    Tests/images."""
    folder = os.environ.get("QINSIGHT_CORPUS")
    if not folder:
        pytest.skip("QINSIGHT_CORPUS is not set")
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    items = [{"image": str(path)} for path in paths]
    with closing(assess(score.TASK, items, PixelEngine(), Decoding())) as results:
        rows = [row_of(score.TASK, result, "pixels") for result in results]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    for row in rows:
        error = row["error"] or ""
        assert bool(error) == (row["rating"] is None), row
        assert not error.startswith(("the picture", "the model")), row  # its time or memory spent, a broken decoder
        assert "\n" not in error
