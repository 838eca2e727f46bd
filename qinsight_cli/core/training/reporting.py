"""Where else a run is logged: TensorBoard, Weights & Biases, or trackio, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import is_installed

ReportTo = Literal["none", "tensorboard", "wandb", "trackio"]


def check_installed(packages: Sequence[str], report_to: str) -> None:
    """Raises QInsightError for a package that a run needs and that is not there."""
    for package in (*packages, *([] if report_to == "none" else [report_to])):
        if not is_installed(package):
            raise QInsightError(
                f"the package {package} is not installed here, and this run needs it: pip install {package}"
            )
