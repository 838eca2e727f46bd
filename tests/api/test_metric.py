"""QualityMetric: the mean quality of pictures as a metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qinsight_cli import QInsight, QualityMetric


def test_the_metric_is_the_mean_rating(folder: Path, engines: list[Any]) -> None:
    import torch

    metric = QualityMetric(QInsight())
    assert torch.isnan(metric.compute())
    batch = torch.stack([torch.full((3, 8, 8), 60 * i, dtype=torch.uint8) for i in range(4)])
    metric.update(batch)
    mean = sum(round(1 + 4 * 60 * i / 255, 2) for i in range(4)) / 4
    assert metric.compute().item() == pytest.approx(mean, abs=1e-6)
    assert metric(batch[3] / 255.0).item() == pytest.approx(float(np.float32(3.82)), abs=1e-6)
    metric.update(["photos/0.png", "missing.png"])
    assert metric.failed == 1
    assert metric.compute().item() == pytest.approx((mean * 4 + float(1 + 4 * 180 / 255) + 1) / 6, abs=2e-3)
    metric.reset()
    assert torch.isnan(metric.compute())
