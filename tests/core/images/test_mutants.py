"""Mutants of every format, cut and with flipped bits, and a corpus where there is one: a picture or one line."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import FORMATS, load_image
from qinsight_cli.core.images.worker import Worker

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


def test_a_corpus_of_odd_files() -> None:
    """QINSIGHT_CORPUS names a folder such as Pillow's Tests/images."""
    folder = os.environ.get("QINSIGHT_CORPUS")
    if not folder:
        pytest.skip("QINSIGHT_CORPUS is not set")
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    seen = [outcome(lambda path=path: load_image(path).image) for path in paths]  # type: ignore[misc]
    assert not [words for words in seen if "\n" in words]
