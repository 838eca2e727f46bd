"""The convolutional vision module against the processor that feeds it and numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from qinsight_cli.core.models import conv_tower
from qinsight_cli.core.models.conv_trunk import STATISTICS
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
    assert found.shape == (6, STATISTICS)
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


@pytest.mark.parametrize("frozen", [1, 8, 11, 15, 16])
def test_cells_of_the_frozen_blocks_give_the_tokens_of_the_pictures(random_conv_model: Path, frozen: int) -> None:
    """And the gradients of what trains are those that pictures give."""
    tower = load_model(str(random_conv_model), "cpu", "float32").network.model.visual
    freeze(tower, frozen)
    patches, grids = cut(pictures())
    pieces = patches.split(grids.prod(1).tolist())
    with torch.no_grad():
        cells = [
            tower.frozen_cells(tower.assemble(piece, *grid[1:])).flatten(0, 1)
            for piece, grid in zip(pieces, grids.tolist(), strict=True)
        ]
    assert {values.shape[1] for values in cells} == {tower.frozen_width}
    seen, gradients = [], []
    for inputs in (torch.cat(cells), patches):
        tower.zero_grad()
        tokens = tower(inputs, grids).pooler_output
        tokens.square().sum().backward()
        gradients.append([value.grad.clone() for value in tower.parameters() if value.requires_grad])
        seen.append(tokens)
    torch.testing.assert_close(*seen, rtol=1e-5, atol=1e-5)
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_grid_that_does_not_fit_the_trunk_is_refused() -> None:
    with pytest.raises(ValueError, match="times spatial_merge_size must be 32"):
        conv_tower.ConvTower(conv_tower.ConvVisionConfig(patch_size=14))
