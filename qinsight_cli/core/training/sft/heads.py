"""See first: the vision tower alone, trained by direct heads on its merged tokens.

A random tower in front of a random language model learns to see very slowly, because few tokens of an answer depend on
the picture. So the tower first learns class, level and rating directly, from whitened patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from qinsight_cli.core.tasks.degradation import CLASSES, SEVERITIES
from qinsight_cli.core.training.sft.batches import IGNORED

LUMA_SHARE = 0.78  # of the patch filters; the rest see colour differences


class SeeingTower(nn.Module):
    """A vision tower with two sets of direct heads: one reads the mean and spread of its tokens, one the mean alone.

    The language model can form a mean over picture tokens in one attention step, so the second set keeps what was
    learned where it will be read.
    """

    def __init__(self, tower: nn.Module, width: int):
        super().__init__()
        self.tower = tower
        outputs = len(CLASSES) + len(SEVERITIES) + 1
        self.spread_heads = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, outputs))
        self.mean_heads = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def outputs(self, pixel_values: torch.Tensor, image_grid_thw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(images, classes + levels + 1 rating) from each set of heads; every picture must have the same grid area."""
        tokens = self.tower(pixel_values, grid_thw=image_grid_thw).pooler_output
        tokens = tokens.view(len(image_grid_thw), -1, tokens.shape[-1]).float()
        mean, spread = tokens.mean(1), tokens.std(1)
        return self.spread_heads(torch.cat([mean, spread], -1)), self.mean_heads(mean)

    def forward(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        classes: torch.Tensor,
        levels: torch.Tensor,
        ratings: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        losses = [
            seeing_loss(output, classes, levels, ratings) for output in self.outputs(pixel_values, image_grid_thw)
        ]
        return {"loss": torch.stack(losses).mean()}


def seeing_loss(
    output: torch.Tensor, classes: torch.Tensor, levels: torch.Tensor, ratings: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of class and level plus squared error of the rating; labels a row does not have are left out."""
    by_class, by_level, rating = output.split([len(CLASSES), len(SEVERITIES), 1], dim=-1)
    loss = output.sum() * 0.0
    if (classes != IGNORED).any():
        loss = loss + functional.cross_entropy(by_class, classes, ignore_index=IGNORED)
    if (levels != IGNORED).any():
        loss = loss + functional.cross_entropy(by_level, levels, ignore_index=IGNORED)
    rated = ~ratings.isnan()
    if rated.any():
        # The head predicts the distance from the middle of the scale.
        loss = loss + functional.mse_loss(rating[rated, 0], ratings[rated] - 3.0)
    return loss


def whiten_patches(tower: Any, patches: np.ndarray) -> None:
    """Start the patch filters as DCT atoms over luma (all frequencies) and chroma, each divided by its standard
    deviation over `patches` (count, 3 * frames * side * side).

    Photos have 1/f spectra: random filters pass almost only low frequencies, and damage lives in the high ones.
    """
    weight = tower.patch_embed.proj.weight  # (filters, 3, frames, side, side)
    filters, _, frames, side, _ = weight.shape
    waves = dct_atoms(side)
    luma_count = round(filters * LUMA_SHARE)
    luma = waves[np.linspace(0, len(waves) - 1, luma_count).round().astype(int)]
    chroma_count = filters - luma_count
    chroma = waves[np.linspace(0, len(waves) // 2, (chroma_count + 1) // 2).round().astype(int)]
    mixes = np.array([[0.299, 0.587, 0.114], [0.5, -0.419, -0.081], [-0.169, -0.331, 0.5]])  # Y, Cr, Cb
    in_luma = [wave * mixes[0][:, None, None] for wave in luma]
    in_chroma = [wave * mixes[1 + index % 2][:, None, None] for index, wave in enumerate(np.repeat(chroma, 2, 0))]
    atoms = np.stack([*in_luma, *in_chroma])[:filters]  # (filters, 3, side, side)
    kernels = np.repeat(atoms[:, :, None], frames, 2) / frames
    spread = (patches @ kernels.reshape(filters, -1).T).std(0)
    kernels = kernels / (spread[:, None, None, None, None] + 1e-4)
    with torch.no_grad():
        weight.copy_(torch.as_tensor(kernels, dtype=weight.dtype))


def dct_atoms(side: int) -> np.ndarray:
    """All (side * side) orthonormal two-dimensional DCT-II atoms, low frequencies first: (atoms, side, side)."""
    position = np.arange(side)
    basis = np.cos(np.pi * (2 * position[None] + 1) * position[:, None] / (2 * side)) * np.sqrt(2 / side)
    basis[0] /= np.sqrt(2)
    order: Sequence[tuple[int, int]] = sorted(np.ndindex(side, side), key=lambda uv: (sum(uv), uv))
    return np.stack([np.outer(basis[u], basis[v]) for u, v in order])
