"""The size at which a model sees a picture. Pictures get it right after decoding: none waits at full size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.images import check_shape

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Target:
    """The sizes that a Qwen2.5-VL processor gives its model: sides in multiples of `factor` pixels, areas between
    `smallest` and `largest` pixels."""

    factor: int
    smallest: int
    largest: int

    @classmethod
    def of(cls, images: Any) -> Target:
        """The sizes of an image processor of transformers."""
        return cls(images.patch_size * images.merge_size, images.size["shortest_edge"], images.size["longest_edge"])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a picture -> (width, height) for the model, as in transformers' `smart_resize`."""
        factor = self.factor
        wide, high = round(width / factor) * factor, round(height / factor) * factor
        if wide * high > self.largest:
            shrink = math.sqrt(height * width / self.largest)
            wide = max(factor, math.floor(width / shrink / factor) * factor)
            high = max(factor, math.floor(height / shrink / factor) * factor)
        elif wide * high < self.smallest:
            grow = math.sqrt(self.smallest / (height * width))
            wide, high = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
        return wide, high

    def fit(self, image: Image.Image) -> Image.Image:
        """The picture resized as the processor would do it; the processor then leaves it unchanged.

        Raises ImageError for a strip. Returns the picture itself if the processor would resize the result again.
        """
        from PIL import Image

        check_shape(*image.size)
        size = self.size(*image.size)
        if min(size) < 1 or self.size(*size) != size:
            return image
        return image.resize(size, Image.Resampling.BICUBIC)
