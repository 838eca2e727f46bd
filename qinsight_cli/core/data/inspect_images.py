"""Inspection of every picture of a dataset, decoded once, on all cores: its size, hashes and measures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qinsight_cli.core.data.manifest import FileFacts
from qinsight_cli.core.data.near_duplicates import difference_hash
from qinsight_cli.core.data.process_pool import process_pool
from qinsight_cli.core.encodings import is_text
from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.files import write_bytes
from qinsight_cli.core.images import read_image
from qinsight_cli.core.images.worker import WORKER

if TYPE_CHECKING:
    from PIL import Image

    from qinsight_cli.core.data.reasoning import Measures


@dataclass(frozen=True)
class ImageToInspect:
    """One picture to look at, and what to do with it.

    copy_to     write a copy of the file here
    short_side  scale a picture whose short side has more pixels down to this many, and write it to `scaled_to` as PNG
    measure     take the measures of `reasoning.measure_image`
    """

    path: Path
    copy_to: Path | None = None
    short_side: int | None = None
    scaled_to: Path | None = None
    measure: bool = False


@dataclass(frozen=True)
class InspectedImage:
    """The result: the file that the manifest will name, its facts, its difference hash, and its measures."""

    path: Path
    facts: FileFacts
    hash: int | None
    measures: Measures | None = None


def inspect_image(wanted: ImageToInspect) -> InspectedImage | str:
    """Read and decode one picture; if it cannot be read, or its name cannot be written, return the reason."""
    if not is_text(wanted.path.name):
        return "the file name is not text; rename the file"
    try:
        data, digest = read_image(wanted.path)
        image, _ = WORKER.decode(data, wanted.path.name)
    except ImageError as error:
        return str(error)
    path = wanted.path
    if wanted.short_side is not None and wanted.scaled_to is not None and min(image.size) > wanted.short_side:
        image, data = _scaled(image, wanted.short_side)
        path, digest = wanted.scaled_to, hashlib.sha256(data).hexdigest()
        write_bytes(path, data, durable=False)
    elif wanted.copy_to is not None:
        path = wanted.copy_to
        write_bytes(path, data, durable=False)
    measures = None
    if wanted.measure:
        from qinsight_cli.core.data.reasoning import measure_image

        measures = measure_image(image)
    return InspectedImage(path, FileFacts(digest, image.width, image.height), difference_hash(image), measures)


def inspect_images(
    images: Sequence[ImageToInspect], workers: int, progress: Callable[[], None]
) -> list[InspectedImage | str]:
    """`inspect_image` for all, in order, on several cores. Memory holds at most one picture per worker."""
    found = []
    with process_pool(workers) as each:
        for result in each(inspect_image, images, 16):
            progress()
            found.append(result)
    return found


def _scaled(image: Image.Image, short_side: int) -> tuple[Image.Image, bytes]:
    from PIL import Image

    scale = short_side / min(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return small, buffer.getvalue()
