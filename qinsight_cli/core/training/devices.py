"""The processes of a run: how many a launcher has started, which one this is, and one device for each."""

from __future__ import annotations

import os
import sys
from typing import Any


def processes() -> int:
    """How many processes `accelerate launch` or `torchrun` has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def from_main(value: Any) -> Any:
    """The `value` of the main process, in every process."""
    from accelerate.utils import broadcast_object_list

    values = [value]
    if processes() > 1:
        broadcast_object_list(values)
    return values[0]


def use_one_device(arguments: Any) -> None:
    """Keep transformers' TrainingArguments from spreading one process over all visible GPUs: neither TRL nor these
    trainers support its `nn.DataParallel`. Say on stderr how to use all GPUs."""
    visible = arguments.n_gpu
    if visible > 1:
        arguments._n_gpu = 1  # as Trainer does for a model that the user has spread over devices
        print(f"{visible} GPUs are visible and one is used; --processes auto uses all of them", file=sys.stderr)
