"""Pictures under the distortions of `qinsight prepare synth`, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qinsight_cli.core.data.distortions import GENERATORS, distort
from qinsight_cli.core.tasks.degradation import SEVERITIES

LEVELS = (1, 2, 3, 4, 5)


def apply(name: str, image: NDArray[np.uint8], level: int, seed: int = 0) -> NDArray[np.uint8]:
    distortion = next(distortion for distortion, choices in GENERATORS.items() if name in choices)
    return distort(image, distortion, SEVERITIES[level - 1], np.random.default_rng(seed), name)[0]


def plain(value: int, size: int = 300) -> NDArray[np.uint8]:
    return np.full((size, size, 3), value, dtype=np.uint8)
