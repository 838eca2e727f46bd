"""The pictures of training rows: each opened whole before the first step, and the size the processor gives it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import load_image


def check_images(samples: Sequence[Sample]) -> dict[Path, tuple[int, int]]:
    """Width and height of every picture, each opened whole. Raises QInsightError naming the first that cannot be."""
    paths = list(dict.fromkeys(path for sample in samples for path in sample.images.values()))
    # Opened whole: a file that ends too soon has a good header.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(_size, paths), strict=True))


def _size(path: Path) -> tuple[int, int]:
    if not path.is_file():
        raise QInsightError(f"the picture {path} is not there; a manifest names it")
    try:
        loaded = load_image(path)
    except ImageError as error:
        raise QInsightError(f"the picture {path} cannot be used: {error}") from error
    return loaded.width, loaded.height


def resized_size(size: tuple[int, int], image_processor: Any) -> tuple[int, int]:
    """(width, height) of a picture -> (width, height) as the processor resizes it."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    height, width = smart_resize(
        size[1],
        size[0],
        factor=image_processor.patch_size * image_processor.merge_size,
        min_pixels=image_processor.size["shortest_edge"],
        max_pixels=image_processor.size["longest_edge"],
    )
    return width, height
