"""The whitened start and the loss of the direct heads, by independent computation."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn

from qinsight_cli.core.training.sft.batches import IGNORED
from qinsight_cli.core.training.sft.heads import dct_atoms, seeing_loss, whiten_patches


def test_atoms_are_an_orthonormal_basis_and_pick_out_scipys_coefficients() -> None:
    atoms = dct_atoms(8)
    flat = atoms.reshape(64, 64)
    np.testing.assert_allclose(flat @ flat.T, np.eye(64), atol=1e-12)
    picture = np.random.default_rng(0).normal(size=(8, 8))
    expected = dctn(picture, norm="ortho")
    ours = flat @ picture.ravel()
    np.testing.assert_allclose(sorted(ours), sorted(expected.ravel()), atol=1e-12)
    assert ours[0] == pytest.approx(expected[0, 0])


class Tower(nn.Module):
    def __init__(self, filters: int, frames: int, side: int):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, filters, (frames, side, side), bias=False)


def test_whitened_filters_answer_clean_patches_with_unit_spread() -> None:
    rng = np.random.default_rng(0)
    # Patches with a 1/f-like spectrum: smooth ramps plus weak detail; two equal frames.
    ramp = np.linspace(-1, 1, 8)
    patches = rng.normal(size=(500, 3, 1, 1, 1)) + rng.normal(size=(500, 1, 1, 1, 1)) * ramp[None, None, None, None]
    patches = patches + 0.05 * rng.normal(size=(500, 3, 1, 8, 8))
    patches = np.repeat(patches, 2, 2).reshape(500, -1)
    tower = Tower(40, 2, 8)
    whiten_patches(tower, patches)
    answers = patches @ tower.patch_embed.proj.weight.detach().double().numpy().reshape(40, -1).T
    np.testing.assert_allclose(answers.std(0), 1.0, atol=0.02)


def test_loss_leaves_out_what_a_row_does_not_know() -> None:
    output = torch.randn(3, 11, generator=torch.Generator().manual_seed(0))
    classes, levels = torch.tensor([2, IGNORED, IGNORED]), torch.tensor([4, IGNORED, IGNORED])
    ratings = torch.tensor([float("nan"), 4.0, float("nan")])
    by_class = -torch.log_softmax(output[0, :5], 0)[2]
    by_level = -torch.log_softmax(output[0, 5:10], 0)[4]
    squared = (output[1, 10] - (4.0 - 3.0)) ** 2
    assert seeing_loss(output, classes, levels, ratings).item() == pytest.approx((by_class + by_level + squared).item())


def test_loss_of_rows_that_know_nothing_is_zero_with_a_gradient() -> None:
    output = torch.ones(2, 11, requires_grad=True)
    nothing = torch.tensor([IGNORED, IGNORED])
    loss = seeing_loss(output, nothing, nothing, torch.full((2,), float("nan")))
    loss.backward()
    assert loss.item() == 0.0
    assert output.grad is not None
