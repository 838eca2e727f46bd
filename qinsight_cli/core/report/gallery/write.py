"""Writing a gallery: one file, or a first page and a folder of further pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import claim_folder, write_atomically
from qinsight_cli.core.images import MAX_PIXELS
from qinsight_cli.core.output_checks import check_output
from qinsight_cli.core.report.gallery.cards import Card, worst_first
from qinsight_cli.core.report.gallery.page import GENERATOR, About, Link, page
from qinsight_cli.core.report.gallery.thumbnails import bytes_each, thumbnail

PER_PAGE = 500
HEAD = 512


def is_gallery(head: bytes) -> bool:
    """Whether a file that starts with these bytes is a gallery page, which the next run may replace."""
    return not head or GENERATOR in head[:HEAD]


def pages_folder(path: str) -> Path:
    """The folder of the pages after the first."""
    return Path(path).with_name(f"{Path(path).stem}-pages")


def check_gallery(path: str, count: int, force: bool, inputs: Sequence[str] = ()) -> None:
    """Raise QInsightError, before any work is done, if a gallery of `count` rows cannot be written there."""
    check_output(path, is_gallery, force, inputs)
    if count > PER_PAGE:
        _claim(pages_folder(path))


def _claim(folder: Path) -> None:
    claim_folder(folder, "gallery", lambda: all(_is_page(file) for file in folder.iterdir()))


def _is_page(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as opened:
        return file.name.startswith("page-") and is_gallery(opened.read(HEAD))
    return False


def write_gallery(
    path: str,
    about: About,
    cards: Sequence[Card],
    max_pixels: int = MAX_PIXELS,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write the cards, worst first. Returns the number of pages.

    The first PER_PAGE cards go into `path`, the others into files in `pages_folder(path)`, each written atomically.
    `advance` is called after each card. Raises QInsightError on a disk error.
    """
    ordered = worst_first(cards)
    parts = [ordered[i : i + PER_PAGE] for i in range(0, len(ordered), PER_PAGE)] or [[]]
    folder = pages_folder(path)
    if len(parts) > 1:
        _claim(folder)
    paths = [path, *(str(folder / f"page-{number}.html") for number in range(2, len(parts) + 1))]
    for here, part in zip(paths, parts, strict=True):
        links = [
            _link(here, there, number, other) for number, (there, other) in enumerate(zip(paths, parts, strict=True), 1)
        ]
        small = _thumbnails(part, max_pixels, advance)
        html = page(about, part, small, os.path.dirname(os.path.abspath(here)), links if len(parts) > 1 else [])
        with write_atomically(here) as file:
            file.write(html.encode("utf-8"))
    _remove_old(folder, set(paths[1:]))
    return len(parts)


def _thumbnails(cards: Sequence[Card], max_pixels: int, advance: Callable[[], None]) -> dict[str, str]:
    paths = {picture.path for card in cards for picture in card.pictures}
    limit = bytes_each(len(paths))
    made: dict[str, str] = {}
    for card in cards:
        for picture in card.pictures:
            if picture.path not in made:
                made[picture.path] = thumbnail(picture.path, limit, max_pixels)
        advance()
    return made


def _link(here: str, there: str, number: int, cards: Sequence[Card]) -> Link:
    """The link from one page to another, with the lowest and highest number on it."""
    numbers = [card.number for card in cards if card.number is not None and not card.error]
    span = f": {min(numbers):.2f} – {max(numbers):.2f}" if numbers else ""
    address = os.path.relpath(there, os.path.dirname(os.path.abspath(here))).replace(os.sep, "/")
    return Link(address, f"{number}{span}", here == there)


def _remove_old(folder: Path, kept: set[str]) -> None:
    """Remove pages of an earlier, longer gallery."""
    if not folder.is_dir():
        return
    for file in sorted(folder.glob("page-*.html")):
        if str(file) not in kept and _is_page(file):
            try:
                file.unlink()
            except OSError as error:
                raise QInsightError(f"cannot remove {file}: {error.strerror or error}") from None
    with suppress(OSError):
        folder.rmdir()  # works only on an empty folder
