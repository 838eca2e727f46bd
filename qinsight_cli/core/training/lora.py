"""Low-rank adapters (LoRA) of the language model, for GRPO and SFT alike."""

from __future__ import annotations

from typing import Any

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora_config(recipe: Any) -> Any:
    """peft's LoraConfig from the `lora_...` keys of a recipe: the named projections of the language model, not those of
    the vision tower."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha or 2 * recipe.lora_rank,
        lora_dropout=0.0,
        target_modules=rf"model\.language_model\..*\.({'|'.join(recipe.lora_targets)})",
    )
