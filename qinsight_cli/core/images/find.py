"""Files, folders, globs and lists on a command line -> paths of pictures."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import BinaryIO

from qinsight_cli.core.encodings import decode, encoding_of, read_all
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import photos
from qinsight_cli.core.images.containers import HEIC_EXTENSIONS, RAW, RAW_EXTENSIONS, VIDEO_EXTENSIONS
from qinsight_cli.core.storage import files_under, is_remote

# Extensions of the files to take from a folder; HEIC is among them even if it cannot be read, so that it gives an
# error.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".gif"),
    *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", *HEIC_EXTENSIONS),
)
_ESCAPE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_RAWS, _VIDEOS, _OTHERS = "camera raw", "video", "other"

Unread = Counter[str]  # kind of file -> the number of such files that are not read


def find_images(
    arguments: Sequence[str],
    stdin: BinaryIO | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> list[str]:
    """Files, folders, globs and `-` -> paths, in the order given; folders and globs sorted naturally.

    A name that exists is never a glob. A missing file stays in the list, to become a row with an error, if it has an
    image extension or is one of several arguments. `-` reads names from `stdin`, one a line or separated by NUL, each
    taken literally. Camera raw files are taken from folders if rawpy is installed. `say` gets one line on the files in
    folders that are not read, and one on each glob among several that matches nothing.
    Raises QInsightError if nothing is found, and if the only argument is an address, a missing folder, or a glob that
    matches nothing.
    """
    found: list[str] = []
    unread: Unread = Counter()
    trouble: list[QInsightError] = []
    for argument in map(on_disk, arguments):
        try:
            found += _named(argument, stdin, unread)
        except QInsightError as error:
            if not os.path.lexists(argument) and not glob.has_magic(argument):
                found.append(argument)
            trouble.append(error)
    if trouble and (len(arguments) == 1 or not any(map(os.path.lexists, found))):
        raise trouble[0]
    for each in trouble:
        if str(each).startswith(("nothing matches", "no images in", "cannot read")):
            say(str(each))
    if not found:
        raise QInsightError("no images given: name files, folders or globs, or send a list to -")
    if unread:
        say(f"not read: {_in_words(unread)}")
    return found[:limit]


def _named(argument: str, stdin: BinaryIO | None, unread: Unread) -> list[str]:
    if argument == "-":
        found = []
        for name in _read_names(stdin):
            found += _folder(name, unread) if os.path.isdir(name) else [name]
        return found
    if os.path.isdir(argument):
        return _folder(argument, unread)
    if os.path.lexists(argument):
        return [argument]
    if is_remote(argument):
        return _in_store(argument)
    if _ADDRESS.match(argument):
        raise QInsightError(f"{argument} is an address, not a file: nothing is downloaded, save the picture first")
    if glob.has_magic(argument):
        return _glob(argument)
    if is_image_name(argument):
        return [argument]
    raise QInsightError(f"no such file or folder: {argument}")


def _in_store(address: str) -> list[str]:
    """The pictures under an address in an object store, or the one that it names."""
    if is_image_name(address):
        return [address]
    found = sorted((path for path in files_under(address) if is_image_name(path)), key=natural)
    if not found:
        raise QInsightError(f"no images under {address}")
    return found


def on_disk(name: str) -> str:
    """A name in a list or table -> its spelling on disk.

    Tries composed and decomposed Unicode, slashes for backslashes, and the escapes that our CSV has for invalid bytes.
    """
    if os.path.lexists(name):
        return name
    spellings = [name, name.replace("\\", "/"), unescaped(name)]
    spellings += [unicodedata.normalize(form, each) for each in spellings for form in ("NFC", "NFD")]
    return next((each for each in spellings if os.path.lexists(each)), name)


def unescaped(name: str) -> str:
    """A name with its invalid bytes, which our CSV writes as escapes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)


def _read_names(stdin: BinaryIO | None) -> list[str]:
    """The names of a list. Without a byte order mark they are bytes, like the names on disk."""
    data = read_all(stdin, "the list on standard input") if stdin is not None else b""
    if encoding_of(data) != "utf-8":
        data = os.fsencode(decode(data, "the list on standard input"))
    names = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [_named_by(name) for name in names if name]


def _named_by(name: bytes) -> str:
    found = on_disk(os.fsdecode(name))
    if not os.path.lexists(found):
        other = on_disk(name.decode("cp1252", "replace"))  # a list saved on Windows
        found = other if os.path.lexists(other) else found
    return found


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def is_image_name(path: str) -> bool:
    """Whether a file of this name is taken from a folder."""
    return _extension(path) in EXTENSIONS or (_extension(path) in RAW_EXTENSIONS and photos.can_read(RAW))


def natural(path: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts img2 before img10, the same on every machine."""
    parts = re.split(r"([0-9]+)", path)
    return [(1, int(part), "") if i % 2 else (0, 0, part.lower()) for i, part in enumerate(parts)], path


def _folder(folder: str, unread: Unread) -> list[str]:
    """The image files under a folder by extension, without hidden ones. `unread` counts the other files."""
    names = _files(folder)
    found = [name for name in names if is_image_name(name)]
    here: Unread = Counter(map(_other_kind, names))
    here.pop("", None)
    if not found:
        holds = f"; it holds {_in_words(here)}" if here else ""
        raise QInsightError(f"no images in the folder {folder} (looked for {', '.join(EXTENSIONS)}){holds}")
    unread.update(here)
    return sorted(found, key=natural)


def _files(folder: str) -> list[str]:
    """Every file under a folder that is not hidden. Links to folders are followed, each folder once."""

    def refuse(error: OSError) -> None:
        raise QInsightError(f"cannot read the folder {error.filename}: {error.strerror}; name the files instead")

    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:  # links last: a folder found both ways keeps its own path
        top = waiting.pop(0)
        for root, folders, names in os.walk(top, onerror=refuse):
            status = os.stat(root)
            place = (status.st_dev, status.st_ino)
            if place in seen:
                folders[:] = []
                continue
            seen.add(place)
            shown = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in shown if os.path.islink(os.path.join(root, name))]
            folders[:] = [name for name in shown if name not in links]
            waiting += [os.path.join(root, name) for name in links]
            found += [os.path.join(root, name) for name in names if not name.startswith(".")]
    return found


def _other_kind(path: str) -> str:
    if is_image_name(path):
        return ""
    extension = _extension(path)
    return _RAWS if extension in RAW_EXTENSIONS else _VIDEOS if extension in VIDEO_EXTENSIONS else _OTHERS


def _in_words(unread: Unread) -> str:
    """{"camera raw": 3, "other": 1} -> "3 camera raw, 1 other file"."""
    parts = []
    if unread[_RAWS]:
        parts.append(f"{unread[_RAWS]} camera raw ({photos.INSTALL} to read them)")
    if unread[_VIDEOS]:
        parts.append("1 video" if unread[_VIDEOS] == 1 else f"{unread[_VIDEOS]} videos")
    if unread[_OTHERS]:
        parts.append("1 other file" if unread[_OTHERS] == 1 else f"{unread[_OTHERS]} other files")
    return ", ".join(parts)


def _glob(pattern: str) -> list[str]:
    found = [path for path in glob.glob(pattern, recursive=True) if is_image_name(path) and not os.path.isdir(path)]
    if not found:
        raise QInsightError(f"nothing matches {pattern}: no image files there")
    return sorted(found, key=natural)
