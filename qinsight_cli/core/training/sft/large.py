"""SFT of large models: the adapter, and the checks for several processes."""

from __future__ import annotations

import os
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.devices import processes
from qinsight_cli.core.training.lora import lora_config
from qinsight_cli.core.training.sft.recipe import SftRecipe


def check_processes(recipe: SftRecipe) -> None:
    """Raises QInsightError for a recipe that cannot be divided among the processes of a launcher."""
    count = processes()
    if count == 1:
        return
    if any(os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in ("FSDP", "DEEPSPEED")):
        raise QInsightError(
            "--algorithm sft keeps whole weights in each process; launch it with ddp, and use lora_rank"
        )
    if recipe.model == "new" or any(phase.kind == "see" or phase.keep_cells for phase in recipe.phases):
        raise QInsightError("a new model, see phases and phases with keep_cells are trained in one process")
    for phase in recipe.phases:
        if phase.batch % (phase.accumulation * count):
            raise QInsightError(
                f"phase {phase.name}: a batch of {phase.batch} cannot be cut into {phase.accumulation} equal parts on "
                f"each of {count} processes"
            )


def adapted(network: Any, recipe: SftRecipe) -> Any:
    """The network, with a new adapter in its language model if the recipe wants one."""
    if not recipe.lora_rank:
        return network
    from peft import get_peft_model

    model = get_peft_model(network, lora_config(recipe))
    model.peft_config["default"].base_model_name_or_path = recipe.model
    return model
