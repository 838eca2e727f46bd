"""One process trains on one device; more devices are for a launcher."""

from __future__ import annotations

import sys
from typing import Any


def use_one_device(arguments: Any) -> None:
    """Keep transformers' TrainingArguments from spreading one process over all visible GPUs (`nn.DataParallel`, which
    neither TRL nor these trainers support), and say on stderr how to use all of them."""
    visible = arguments.n_gpu
    if visible > 1:
        arguments._n_gpu = 1  # as Trainer does for a model that the user has spread over devices
        print(
            f"{visible} GPUs are visible and one is used; --processes auto uses all of them",
            file=sys.stderr,
        )
