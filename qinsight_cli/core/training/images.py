"""The pictures of training rows: the check of all before the first step, and their sizes after the processor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.manifest import FileFacts, Sample
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import check_shape, decode_image, read_image
from qinsight_cli.core.images.fit import Target


def check_images(samples: Sequence[Sample]) -> dict[Path, tuple[int, int]]:
    """Width and height of every picture. Reads every file.

    A picture with facts in the manifest must have the same bytes as when `prepare` decoded it. Any other picture is
    decoded here. Raises QInsightError naming the first picture that is missing, has changed, or cannot be used.
    """
    facts: dict[Path, FileFacts | None] = {}
    for sample in samples:
        for role, path in sample.images.items():
            facts[path] = facts.get(path) or sample.files.get(role)
    # Reading, hashing and decoding release the GIL.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(facts, pool.map(_size, facts, facts.values()), strict=True))


def _size(path: Path, facts: FileFacts | None) -> tuple[int, int]:
    if not path.is_file():
        raise QInsightError(f"the picture {path} is missing; restore it, or prepare its dataset again")
    try:
        data, digest = read_image(path)
        if facts is not None and digest != facts.sha256:
            raise QInsightError(f"the picture {path} has changed since its dataset was prepared; prepare it again")
        if facts is None:
            image, _ = decode_image(data, str(path))
        width, height = (facts.width, facts.height) if facts is not None else image.size
        check_shape(width, height)
    except ImageError as error:
        raise QInsightError(f"the picture {path} cannot be used: {error}") from error
    return width, height


def resized_sizes(found: Mapping[Path, tuple[int, int]], image_processor: Any) -> dict[Path, tuple[int, int]]:
    """(width, height) of pictures -> (width, height) after the processor."""
    return {path: Target.of(image_processor).size(*size) for path, size in found.items()}
