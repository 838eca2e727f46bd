"""A local engine with random weights, and requests for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core.engines import Request, replicas
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.tasks import TASKS

Photos = Callable[[str], NDArray[np.uint8]]


@pytest.fixture(scope="package")
def engine(random_model: Path) -> LocalEngine:
    import torch

    torch.set_num_threads(1)
    engine = load_engine(str(random_model), device="cpu")
    with torch.no_grad():  # fresh weights write the same token for ever: larger ones make the text depend on everything
        for name, weight in engine._network.named_parameters():
            if weight.ndim > 1 and "embed_tokens" not in name:
                weight.mul_(6.0)
    return engine


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that fail are repeated at once, more or less."""
    monkeypatch.setattr(replicas, "SHORTEST", 0.05)
    monkeypatch.setattr(replicas, "LONGEST", 0.2)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.02)


def ask(*images: Image.Image, seed: int = 0) -> Request:
    if len(images) == 1:
        return Request(TASKS["score"].messages(("image",)), images, seed)
    return Request(TASKS["comparison"].messages(("reference", "image_a", "image_b")), images, seed)


@pytest.fixture(scope="package")
def requests(photos: Photos) -> list[Request]:
    """Eight requests of one or three pictures in many sizes."""
    pictures = [Image.fromarray(photos(name)) for name in ("chelsea", "coffee", "rocket", "astronaut")]
    cat, coffee, rocket, face = pictures
    return [
        ask(cat, seed=11),
        ask(coffee.crop((0, 0, 60, 400)), coffee, cat.resize((50, 50)), seed=12),
        ask(rocket.crop((100, 0, 180, 60)), seed=13),
        ask(face, seed=14),
        ask(cat.rotate(90, expand=True), seed=15),
        ask(face.resize((64, 200)), rocket, face, seed=16),
        ask(coffee.resize((33, 77)), seed=17),
        ask(rocket.resize((640, 90)), seed=18),
    ]
