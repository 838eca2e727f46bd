"""A recipe -> the arguments of TRL's GRPOConfig, with all settings that make TRL compute Eq. 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.grpo.schedule import Schedule

KEPT_CHECKPOINTS = 2  # if a kill interrupts the writing of one, the other remains


def grpo_arguments(
    recipe: GrpoRecipe,
    schedule: Schedule,
    weights: list[float],
    out: Path,
    on_cpu: bool,
    banned: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of GRPOConfig. `weights` are those of the reward functions, Eq. 6 and 8. TRL's own rollouts
    never draw the `banned` tokens, given with their ids."""
    return {
        **_objective(recipe, weights),
        **_rollouts(recipe, banned or {}),
        "output_dir": str(out),
        "max_steps": schedule.steps,
        "per_device_train_batch_size": schedule.batch.per_device,
        "gradient_accumulation_steps": schedule.batch.accumulation,
        "steps_per_generation": schedule.batch.accumulation,  # completions are drawn for one update, with its weights
        # AdamW (Sec. 4.1). The trainer makes the schedule itself, from `linear_factor`.
        "optim": "adamw_torch_fused",
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": recipe.bf16,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if recipe.gradient_checkpointing else None,
        "use_cpu": on_cpu,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "logging_steps": recipe.log_every,
        "save_steps": recipe.save_every,
        "save_total_limit": KEPT_CHECKPOINTS,
        "report_to": recipe.report_to,
        "run_name": out.name,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def linear_factor(warmup: int, steps: int, end: float) -> Callable[[int], float]:
    """Step -> the factor of the learning rate: after the warmup linear from 1 to `end` (Sec. 4.1).

    transformers' "linear" would end at 0.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return 1.0 + (end - 1.0) * min(1.0, (step - warmup) / max(1, steps - warmup))

    return factor


def _objective(recipe: GrpoRecipe, weights: list[float]) -> dict[str, Any]:
    return {
        # Eq. 2 averages over the completions of a group, each the mean over its tokens. TRL's default, "dapo",
        # averages over all tokens of the batch, so that long completions weigh more.
        "loss_type": "grpo",
        # The KL penalty of Eq. 2 against the weights at the start, as k3 = exp(d) - d - 1, without the importance
        # ratio by which TRL multiplies it by default.
        "beta": recipe.beta,
        "use_bias_correction_kl": False,
        # delta of Eq. 2, the same below and above 1. TRL's own `delta` is another clip, and stays off.
        "epsilon": recipe.clip,
        "epsilon_high": None,
        "delta": None,
        "importance_sampling_level": "token",
        # Eq. 1: reward minus the mean of the group, over its standard deviation. TRL's deviation has N - 1, as in the
        # authors' code, and adds 1e-4. With N = 8 the deviation with N would give advantages 1.069 times as large.
        "scale_rewards": "group",
        "multi_objective_aggregation": "sum_then_normalize",
        "num_iterations": recipe.num_iterations,
        "num_generations": recipe.num_generations,
        "reward_weights": weights,
        "mask_truncated_completions": recipe.mask_truncated,
    }


def _rollouts(recipe: GrpoRecipe, banned: Mapping[str, int]) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "temperature": recipe.temperature,
        "top_p": recipe.top_p,
        "top_k": recipe.top_k,
        "max_completion_length": recipe.max_completion_tokens,
        "use_vllm": bool(recipe.vllm),
    }
    if banned:  # vLLM's SamplingParams, or transformers' GenerationConfig
        words = {"bad_words": sorted(banned)}
        chosen["generation_kwargs"] = words if recipe.vllm else {"suppress_tokens": sorted(banned.values())}
    if recipe.vllm:
        chosen["vllm_mode"] = recipe.vllm
    if recipe.vllm == "server":
        chosen["vllm_server_base_url"] = recipe.vllm_url
    if recipe.vllm == "colocate":
        chosen["vllm_gpu_memory_utilization"] = recipe.vllm_memory
        chosen["vllm_enable_sleep_mode"] = True  # frees its memory while the update runs
    return chosen
