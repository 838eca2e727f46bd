"""What the frozen blocks of a convolutional vision module give for each picture, computed once and kept on disk.

A phase with `keep_cells` reads it in place of pictures: no step decodes a picture or runs the blocks. The files lie in
the folder `cells` of the run; a resumed run goes on from what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import write_text
from qinsight_cli.core.images import load_image
from qinsight_cli.core.training.images import resized_sizes

BATCH = 16  # pictures computed together
SAVE_EVERY = 64  # batches between notes of how far the values on disk go


@dataclass(frozen=True)
class KeptCells:
    """`values` (all cells, values of a cell), float16 on disk; the cells of a picture start at `starts`."""

    values: Any
    starts: Mapping[Path, int]
    sizes: Mapping[Path, tuple[int, int]]
    side: int

    def grid(self, picture: Path) -> tuple[int, int]:
        """Rows and columns of the cells of a picture."""
        width, height = self.sizes[picture]
        return height // self.side, width // self.side

    def read(self, picture: Path) -> Any:
        """(cells, values of a cell) in float32."""
        rows, columns = self.grid(picture)
        start = self.starts[picture]
        return np.asarray(self.values[start : start + rows * columns], dtype=np.float32)


def in_strips(cells: Any, grid: tuple[int, int], strips: int) -> tuple[Any, tuple[int, int]]:
    """The cells (rows x columns, values) of a picture cut into strips: laid side by side, or, if `strips` is negative,
    into columns laid one below the other. Gives them row by row, and the new rows and columns.

    A long picture shows the model other positions than a compact one; so made, it has the same content.
    """
    rows, columns = grid
    values = cells.reshape(rows, columns, -1)
    if strips > 1 and rows >= strips:
        high = rows // strips
        values = np.concatenate([values[at * high : (at + 1) * high] for at in range(strips)], axis=1)
    elif strips < -1 and columns >= -strips:
        wide = columns // -strips
        values = np.concatenate([values[:, at * wide : (at + 1) * wide] for at in range(-strips)], axis=0)
    return values.reshape(-1, values.shape[-1]), values.shape[:2]


def keep_cells(
    folder: Path, pictures: Sequence[Path], found: Mapping[Path, tuple[int, int]], tower: Any, processor: Any
) -> KeptCells:
    """Compute what is not in `folder` yet. `found` has width and height of every picture before it is resized.

    What another trunk or other pictures left there is replaced. Raises QInsightError for a vision module without
    frozen blocks.
    """
    from qinsight_cli.core.models.conv_trunk import CELL

    if not hasattr(tower, "trunk") or not tower.trunk.frozen:
        raise QInsightError("keep_cells needs a convolutional vision module with frozen blocks")
    sizes = resized_sizes({picture: found[picture] for picture in pictures}, processor.image_processor)
    counts = [width * height // CELL**2 for width, height in (sizes[picture] for picture in pictures)]
    kept = KeptCells(
        np.empty((0, tower.frozen_width), np.float16),
        dict(zip(pictures, accumulate([0, *counts]), strict=False)),
        sizes,
        CELL,
    )
    note, values, key = folder / "note.json", folder / "values.npy", _key(tower, kept)
    said = json.loads(note.read_text()) if note.is_file() else {}
    if said.get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        np.lib.format.open_memmap(values, "w+", np.float16, (sum(counts), tower.frozen_width)).flush()
        said = {"key": key, "batches": 0}
    written = np.lib.format.open_memmap(values, "r+")
    for batches in _fill(written, kept, said["batches"], tower, processor):
        written.flush()
        write_text(note, json.dumps({"key": key, "batches": batches}))
    return KeptCells(np.load(values, mmap_mode="r"), kept.starts, sizes, CELL)


def _key(tower: Any, kept: KeptCells) -> dict[str, str]:
    """What the kept values follow from. A block that is trained is none of it."""
    trunk = hashlib.sha256()
    for part in (tower.trunk.stem, *tower.trunk.blocks[: tower.trunk.frozen]):
        for value in part.state_dict().values():
            trunk.update(value.detach().cpu().float().numpy().tobytes())
    listed = "\n".join(f"{picture} {width}x{height}" for picture, (width, height) in kept.sizes.items())
    return {"trunk": trunk.hexdigest(), "pictures": hashlib.sha256(listed.encode()).hexdigest()}


def _fill(values: Any, kept: KeptCells, finished: int, tower: Any, processor: Any) -> Iterator[int]:
    """Write the cells of all pictures but those of the first `finished` batches. Yields, now and then and at the end,
    how many batches are written."""
    import torch

    batches = _batches(kept)
    if finished < len(batches):
        print(f"computing the cells of {sum(map(len, batches[finished:])):,} pictures", file=sys.stderr)
    weight = tower.trunk.stem.conv.weight
    for number, images in _read_ahead(batches, finished, kept):
        seen = processor.image_processor(images, do_resize=False)
        pixels = torch.as_tensor(np.asarray(seen["pixel_values"])).to(weight.device, weight.dtype)
        _, height, width = np.asarray(seen["image_grid_thw"])[0].tolist()
        with torch.inference_mode():
            found = tower.frozen_cells(tower.assemble(pixels, height, width)).cpu().numpy()
        for picture, cells in zip(batches[number], found, strict=True):
            values[kept.starts[picture] : kept.starts[picture] + len(cells)] = cells
        if (number + 1) % SAVE_EVERY == 0 or number + 1 == len(batches):
            print(f"cells: batch {number + 1:,} of {len(batches):,}", file=sys.stderr)
            yield number + 1


def _batches(kept: KeptCells) -> list[list[Path]]:
    """All pictures in batches of one size. They do not depend on what is finished: a resumed run gives equal bits."""
    by_size: dict[tuple[int, int], list[Path]] = {}
    for picture, size in kept.sizes.items():
        by_size.setdefault(size, []).append(picture)
    return [members[at : at + BATCH] for members in by_size.values() for at in range(0, len(members), BATCH)]


def _read_ahead(
    batches: Sequence[Sequence[Path]], first: int, kept: KeptCells
) -> Iterator[tuple[int, list[Image.Image]]]:
    """(number, resized pictures) of each batch from `first` on; the next batch is read meanwhile."""

    def read(members: Sequence[Path]) -> list[Image.Image]:
        return [load_image(each).image.resize(kept.sizes[each], Image.Resampling.BICUBIC) for each in members]

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(read, batches[first])] if first < len(batches) else []
        for number in range(first, len(batches)):
            images = ahead.pop().result()
            if number + 1 < len(batches):
                ahead.append(pool.submit(read, batches[number + 1]))
            yield number, images
