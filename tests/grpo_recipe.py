"""The recipe of small GRPO runs in tests."""

from __future__ import annotations

from qinsight_cli.core.training.grpo.recipe import GrpoRecipe

TASKS = ("score", "degradation", "comparison")
RECIPE = GrpoRecipe(
    tasks=TASKS,
    num_generations=4,
    total_batch=16,
    per_device_batch=8,
    max_steps=4,
    max_completion_tokens=32,
    learning_rate=1e-3,
    bf16=False,
    save_every=2,
    eval_every=2,
    eval_rows=12,
    final_dtype="float32",
)
