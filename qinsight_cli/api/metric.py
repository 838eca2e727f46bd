"""The mean quality of generated or restored pictures, as a metric with the methods of torchmetrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qinsight_cli.api import Mode, QInsight
from qinsight_cli.api.results import Score

if TYPE_CHECKING:
    import torch


class QualityMetric:
    """The mean rating, in [1, 5], of all pictures since the last `reset`. It needs no reference.

        metric = QualityMetric()
        metric.update(images)          # (N, 3, H, W) or (3, H, W), uint8 or floats in [0, 1]; or anything `score` takes
        metric.compute()               # a tensor with one number

    A call with images updates it and returns the mean of these images alone. It is not differentiable.

    model  a `QInsight`, or the name of a model
    mode   "direct" reads the rating without reasoning
    """

    higher_is_better = True
    is_differentiable = False

    def __init__(self, model: QInsight | str = "tiny", mode: Mode = "direct") -> None:
        self._model = model if isinstance(model, QInsight) else QInsight(model)
        self._mode = mode
        self.answers: list[Score] = []

    def update(self, images: Any) -> None:
        """Rate more pictures. A picture without a rating counts in `failed`, not in the mean."""
        self.answers += self._rate(images)

    def compute(self) -> torch.Tensor:
        """The mean rating, float32; NaN if no picture was rated."""
        return _mean(self.answers)

    def reset(self) -> None:
        self.answers = []

    def __call__(self, images: Any) -> torch.Tensor:
        new = self._rate(images)
        self.answers += new
        return _mean(new)

    @property
    def failed(self) -> int:
        """How many pictures could not be rated."""
        return sum(answer.rating is None for answer in self.answers)

    def _rate(self, images: Any) -> list[Score]:
        return list(self._model.score(_separate(images), mode=self._mode))


def _mean(answers: list[Score]) -> torch.Tensor:
    import torch

    ratings = [answer.rating for answer in answers if answer.rating is not None]
    return torch.tensor(math.fsum(ratings) / len(ratings) if ratings else math.nan, dtype=torch.float32)


def _separate(images: Any) -> list[Any]:
    """Tensors of (N, C, H, W) or (C, H, W) -> arrays of (H, W, C); a list of anything else."""
    if hasattr(images, "permute") and images.ndim in (3, 4):
        batch = images[None] if images.ndim == 3 else images
        return list(batch.permute(0, 2, 3, 1))
    return images if isinstance(images, list) else [images]
