"""The training of the vision module alone in "see" phases, by direct heads on the mean of its tokens.

Few tokens of an answer depend on the picture, so a vision module behind a language model learns slowly. The heads teach
it class, severity, rating and the statements of the reasoning directly. They read the mean of the tokens, which the
language model can compute in one attention step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qinsight_cli.core.tasks.degradation import CLASSES, SEVERITIES
from qinsight_cli.core.training.sft.answers import IGNORED

MIDDLE = 3.0  # of the rating scale; the heads predict the distance from it
NEIGHBOURS = 0.15  # share of a level's probability that goes to the adjacent levels
LEVEL_WEIGHT, CORRELATION_WEIGHT = 0.7, 0.5
# Weight of pseudo-MOS: human ratings of photos count more.
PSEUDO_WEIGHT = 0.25
STATEMENTS_WEIGHT = 0.3
# Statements of the reasoning: four measures (light, contrast, colour, detail), each with five zones.
MEASURES, ZONES = 4, 5
OUTPUTS = (len(CLASSES), len(CLASSES) * len(SEVERITIES), 1, MEASURES * ZONES)


class SeeingTower(nn.Module):
    """A vision module with two sets of direct heads on the mean of its tokens, one linear, one with a hidden layer.

    Each gives a class, a level for every class, a rating, and the statements of the reasoning.
    """

    def __init__(self, tower: nn.Module, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.linear_heads = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(OUTPUTS)))
        self.hidden_heads = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, sum(OUTPUTS))
        )

    def outputs(self, pixel_values: Tensor, image_grid_thw: Tensor) -> tuple[Tensor, Tensor]:
        """(images, sum of OUTPUTS) from each set of heads; every picture must have the same grid area."""
        tokens = self.tower(pixel_values, grid_thw=image_grid_thw).pooler_output
        mean = tokens.view(len(image_grid_thw), -1, tokens.shape[-1]).float().mean(1)
        return self.linear_heads(mean), self.hidden_heads(mean)

    def forward(
        self,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        classes: Tensor,
        levels: Tensor,
        ratings: Tensor,
        pseudo: Tensor,
        stated: Tensor,
    ) -> dict[str, Tensor]:
        labels = (classes, levels, ratings, pseudo, stated)
        both = self.outputs(pixel_values, image_grid_thw)
        return {"loss": torch.stack([seeing_loss(output, *labels) for output in both]).mean()}


def split_outputs(output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(images, sum of OUTPUTS) -> classes (images, 5), levels (images, 5 classes, 5 levels), ratings in [1, 5], and
    statements (images, 4 measures, 5 zones)."""
    by_class, by_level, rating, stated = output.split(list(OUTPUTS), dim=-1)
    by_level = by_level.view(-1, len(CLASSES), len(SEVERITIES))
    return by_class, by_level, rating[:, 0] + MIDDLE, stated.view(-1, MEASURES, ZONES)


def seeing_loss(
    output: Tensor, classes: Tensor, levels: Tensor, ratings: Tensor, pseudo: Tensor, stated: Tensor
) -> Tensor:
    """Cross-entropy of the class and of the level under the true class, softened towards its neighbours; squared error
    of the rating and one minus its correlation; squared error of pseudo-MOS; cross-entropy of the statements. Missing
    labels of a row are left out.

    The correlation is over human ratings alone: over both kinds it would mostly show the distance between the kinds.
    """
    by_class, by_level, rating, by_zone = split_outputs(output)
    loss = output.sum() * 0.0
    known = classes != IGNORED
    if known.any():
        loss = loss + functional.cross_entropy(by_class[known], classes[known])
    leveled = known & (levels != IGNORED)
    if leveled.any():
        chosen = by_level[leveled, classes[leveled]]
        loss = loss + LEVEL_WEIGHT * functional.cross_entropy(chosen, soft_levels(levels[leveled]))
    rated = ~ratings.isnan()
    if rated.any():
        loss = loss + functional.mse_loss(rating[rated], ratings[rated])
    known = ~pseudo.isnan()
    if known.any():
        loss = loss + PSEUDO_WEIGHT * functional.mse_loss(rating[known], pseudo[known])
    if (stated != IGNORED).any():
        said = functional.cross_entropy(by_zone.flatten(0, 1), stated.flatten(), ignore_index=IGNORED)
        loss = loss + STATEMENTS_WEIGHT * said
    if rated.sum() > 4:
        loss = loss + CORRELATION_WEIGHT * (1.0 - _correlation(rating[rated], ratings[rated]))
    return loss


def soft_levels(levels: Tensor) -> Tensor:
    """(rows,) -> (rows, 5): most of the probability on the level, a share on the adjacent ones."""
    distance = (torch.arange(len(SEVERITIES), device=levels.device) - levels[:, None]).abs()
    weights = torch.where(distance == 0, 1.0, torch.where(distance == 1, NEIGHBOURS / 2, 0.0))
    return weights / weights.sum(1, keepdim=True)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    first, second = first - first.mean(), second - second.mean()
    return (first * second).sum() / (first.norm() * second.norm() + 1e-6)


def standardise(tower: Any, pictures: Any) -> None:
    """Set a `ConvTower`'s centre and scale from its statistics over batches of pictures (count, 3, height, width)."""
    with torch.no_grad():
        found = torch.cat([tower.statistics(batch).flatten(0, 1) for batch in pictures])
        tower.center.copy_(found.mean(0))
        tower.scale.copy_(1.0 / (found.std(0) + 0.05))
