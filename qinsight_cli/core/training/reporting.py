"""The trackers that a run can also log to, through transformers: TensorBoard, Weights & Biases, trackio."""

from __future__ import annotations

from typing import Literal

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import is_installed

ReportTo = Literal["none", "tensorboard", "wandb", "trackio"]


def check_tracker(report_to: ReportTo) -> None:
    """Raises QInsightError if the package of the tracker is not installed."""
    if report_to != "none" and not is_installed(report_to):
        raise QInsightError(
            f"--report-to {report_to} needs {report_to}, which is not installed: pip install {report_to}"
        )
