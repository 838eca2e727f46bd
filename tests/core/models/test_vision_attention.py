"""Windows in batches: the numbers of transformers' loop, in a few calls."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qinsight_cli.core.models import vision_attention
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.models.vision_attention import Windows

GRIDS = torch.tensor([[1, 18, 30], [1, 4, 6], [1, 32, 16], [1, 10, 10]])  # whole windows, and cut ones


@pytest.fixture(scope="module")
def tower(random_model: Path) -> Any:
    return load_model(str(random_model), "cpu", "float32").network.model.visual


def pixels_of(tower: Any, grids: Tensor) -> Tensor:
    width = tower.patch_embed.proj.weight[0].numel()
    return torch.randn(int(grids.prod(1).sum()), width, generator=torch.Generator().manual_seed(0))


def plain(tower: Any) -> Any:
    """The same tower with the forward of transformers."""
    one = copy.deepcopy(tower)
    for block in one.blocks:
        del block.attn.forward  # there is nothing to delete unless `load_model` prepared it
    return one


def test_the_numbers_are_those_of_one_window_at_a_time(tower: Any) -> None:
    pixels = pixels_of(tower, GRIDS)
    with torch.inference_mode():
        ours = tower(pixels, grid_thw=GRIDS).pooler_output
        theirs = plain(tower)(pixels, grid_thw=GRIDS).pooler_output
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_within_its_rounding(tower: Any) -> None:
    pixels = pixels_of(tower, GRIDS)
    half, exact = copy.deepcopy(tower).bfloat16(), plain(tower)
    with torch.inference_mode():
        ours = half(pixels, grid_thw=GRIDS).pooler_output.float()
        loop = plain(half)(pixels, grid_thw=GRIDS).pooler_output.float()
        right = exact(pixels, grid_thw=GRIDS).pooler_output
    assert (ours - right).abs().mean() < 1.2 * (loop - right).abs().mean()


def test_gradients_are_the_same(tower: Any) -> None:
    pixels, found = pixels_of(tower, GRIDS), []
    for one in (copy.deepcopy(tower), plain(tower)):
        one(pixels, grid_thw=GRIDS).pooler_output.square().sum().backward()
        found.append(one.blocks[0].attn.qkv.weight.grad)
    assert found[1].abs().max() > 0
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4 * float(found[1].abs().max()))


def test_a_call_for_each_length_and_not_for_each_window(tower: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = vision_attention.scaled_dot_product_attention

    def counting(query: Tensor, *others: Any, **settings: Any) -> Tensor:
        calls.append(len(query))
        return real(query, *others, **settings)

    monkeypatch.setattr(vision_attention, "scaled_dot_product_attention", counting)
    grids = torch.tensor([[1, 56, 64]])
    with torch.inference_mode():
        tower(pixels_of(tower, grids), grid_thw=grids)
    side = tower.window_size // tower.patch_size
    windows = -(-56 // side) * -(-64 // side)
    assert len(calls) <= 4 * len(tower.blocks) < windows
    assert max(calls) > 1


def test_windows_by_hand() -> None:
    windows = Windows.of(torch.tensor([0, 4, 6, 6, 10]))
    assert [group.tolist() for group in windows.groups] == [[[0, 1, 2, 3], [6, 7, 8, 9]], [[4, 5]]]
    flat = torch.cat([group.flatten() for group in windows.groups])
    assert flat[windows.back].tolist() == list(range(10))
