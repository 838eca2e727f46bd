"""Fixtures that many tests share. Nothing here reaches the network."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# Set before anything loads torch or huggingface_hub: waiting threads sleep, and no test talks to a hub.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks of the tests are too small to share among cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["QINSIGHT_NO_CACHE"] = "1"  # no test finds the answers of another, but for those of the cache
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

# The same examples every time, and however long a busy machine takes; QINSIGHT_FUZZ=1 looks for new ones.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=not os.environ.get("QINSIGHT_FUZZ"),
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# A suite started in the background may inherit an ignored Ctrl-C, and so would the programs it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with about 200 thousand random weights: right in form, senseless in what it writes.

    Pictures are resized to between 64x64 and 128x128 pixels, 4 to 16 image tokens of 32x32 pixels each.
    """
    from qinsight_cli.core.training.sft.new_model import build
    from small_networks import CORPUS, SMALL

    folder = tmp_path_factory.mktemp("random-model")
    build(folder, CORPUS, SMALL, seed=0)
    return folder


@pytest.fixture(scope="session")
def random_conv_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder like `random_model`, with the convolutional vision module: a trunk of random weights, built by the
    code that builds `tiny`, but for the ImageNet weights, which not every machine has."""
    import torch

    from qinsight_cli.core.models.conv_trunk import Trunk
    from qinsight_cli.core.training.sft import new_model
    from small_networks import CORPUS, SMALL

    def random_trunk(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        trunk = Trunk()
        for module in trunk.modules():
            if isinstance(module, torch.nn.Conv2d):  # so that no stage fades away
                torch.nn.init.kaiming_normal_(module.weight)
                torch.nn.init.normal_(module.bias, std=0.1)
        return trunk.state_dict()

    folder = tmp_path_factory.mktemp("random-conv-model")
    shape = replace(SMALL, encoder="efficientnet-lite0", vision_hidden=48)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_model, "encoder_weights", random_trunk)
        new_model.build(folder, CORPUS, shape, seed=0)
    return folder


@pytest.fixture(scope="session")
def published_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as the hub has Qwen2.5-VL-7B, with its vocabulary and its names, small and with random weights."""
    import hub_model

    return hub_model.build(tmp_path_factory.mktemp("hub") / "Qwen2.5-VL-7B-Instruct")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images and labels that QINSIGHT_DATA names; tests that need it skip without it."""
    folder = os.environ.get("QINSIGHT_DATA")
    if not folder:
        pytest.skip("QINSIGHT_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"QINSIGHT_DATA names {folder}, which is not a folder")
    return path


@pytest.fixture(scope="session")
def photos() -> Callable[[str], NDArray[np.uint8]]:
    """A name -> a real photo that ships in scikit-image's wheel, RGB uint8 (H, W, 3).

    Names: astronaut (512x512), chelsea (300x451), coffee (400x600), rocket (427x640), hubble_deep_field (872x1000).
    """
    import skimage.data

    def load(name: str) -> NDArray[np.uint8]:
        return np.ascontiguousarray(getattr(skimage.data, name)()[..., :3])

    return load


@pytest.fixture(scope="session")
def photo(photos: Callable[[str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One real photo, RGB uint8 (300, 451, 3): a cat. Shared by the session: copy before writing to it."""
    picture = photos("chelsea")
    picture.flags.writeable = False
    return picture
