"""Reading of text files: UTF-8, or the encoding that the byte order mark names; other files are refused."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from qinsight_cli.core.errors import QInsightError

MOST_BYTES = 1 << 30
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """The encoding that the byte order mark names, else UTF-8."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")


def is_text(name: str) -> bool:
    """Whether a file name is valid UTF-8; on Linux a name may be any bytes."""
    return name.isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def decode(data: bytes, shown: str) -> str:
    """Bytes -> text; line ends stay. Raises QInsightError, beginning with `shown`, for bytes that are no text."""
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#04x} in line {line}"
        raise QInsightError(f"{shown} is not text in {encoding.upper()[:6]} ({found}); save it as UTF-8") from None
    if "\0" in text:
        raise QInsightError(f"{shown} is not text in UTF-8 (it holds NUL bytes); save it as UTF-8")
    return text


def read_text(path: Path) -> str:
    """The text of a file. Raises QInsightError naming the file that cannot be read or is not text."""
    return decode(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises QInsightError naming a file that cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            return read_all(file, str(path))
    except OSError as error:
        raise QInsightError(f"cannot read {path}: {error.strerror or error}") from None


def read_all(stream: BinaryIO, shown: str) -> bytes:
    """All bytes of a stream. Raises QInsightError, beginning with `shown`, above `MOST_BYTES`: an endless device would
    fill the memory."""
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise QInsightError(f"{shown} has over {MOST_BYTES:,} bytes, the limit for text")
    return data
