"""The keys of a GRPO recipe, which are also the options of `qinsight train` and the table in docs/training.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.keys import HIGHEST_SEED, STRICT, Range, Setting, check_mix, check_names
from qinsight_cli.core.training.lora import PROJECTIONS
from qinsight_cli.core.training.reporting import ReportTo

REWARDS, ROLLOUTS, UPDATE, LARGE, RUN = "Rewards", "Rollouts", "Update", "Large models", "Run"


@dataclass(frozen=True)
class GrpoRecipe:
    """Multi-task GRPO, Eq. 1-8. Keys with a default are optional; each key describes itself."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tasks: Annotated[
        tuple[str, ...], Setting("Tasks to train: score,degradation,comparison, one or several.", metavar="NAMES")
    ] = ("score", "degradation")
    model: Annotated[str, Setting("The model to start from.", metavar="NAME")] = "tiny"
    seed: Annotated[
        int, Setting("Seed of the order of the rows and of all random draws.", least=0, most=HIGHEST_SEED)
    ] = 42

    weights: Annotated[
        Mapping[str, float],
        Setting(
            "Weights of rewards (Eq. 6 and 8), such as r_lev=0.5,r_fmt=1; the others keep those of their task.",
            REWARDS,
            metavar="WEIGHTS",
        ),
    ] = field(default_factory=dict)
    score_epsilon: Annotated[
        float,
        Setting(
            "A rating is right if it is less than X from the label, Eq. 3; with 0, if it is equal.", REWARDS, least=0
        ),
    ] = 0.35
    score_reward: Annotated[
        Literal["threshold", "gaussian"],
        Setting("gaussian: exp(-error² / 2 epsilon²) in place of Eq. 3. Not in the paper.", REWARDS),
    ] = "threshold"
    rank_weight: Annotated[
        float,
        Setting(
            "Weight of r_rank, the reward for ranking the pictures of a batch. Not in the paper.", REWARDS, least=0
        ),
    ] = 0.0

    num_generations: Annotated[int, Setting("Completions of each prompt, N of Eq. 1.", ROLLOUTS)] = 8
    temperature: Annotated[float, Setting("Temperature of the rollouts.", ROLLOUTS, above=0)] = 1.0
    top_p: Annotated[
        float, Setting("Draw from the likeliest tokens whose probabilities add up to X.", ROLLOUTS, above=0, most=1)
    ] = 1.0
    top_k: Annotated[int, Setting("Draw from the N likeliest tokens; 0 from all.", ROLLOUTS, least=0)] = 0
    max_completion_tokens: Annotated[int, Setting("Cut completions after N tokens.", ROLLOUTS, least=1)] = 256
    max_pixels: Annotated[
        int, Setting("Resize pictures to at most N pixels; 0 is the model's own limit.", ROLLOUTS, least=0)
    ] = 0
    rollout_batch: Annotated[int, Setting("Completions written at a time.", ROLLOUTS, least=1)] = 64
    vllm: Annotated[
        Literal["", "colocate", "server"],
        Setting("Draw completions with vLLM, on these GPUs or on its server.", ROLLOUTS),
    ] = ""
    vllm_url: Annotated[str, Setting("Address of TRL's vLLM server.", ROLLOUTS, metavar="URL")] = ""
    vllm_memory: Annotated[
        float, Setting("Share of a GPU's memory that colocated vLLM takes.", ROLLOUTS, above=0, most=1)
    ] = 0.3

    max_steps: Annotated[int, Setting("Stop after N updates; 0: after all epochs.", UPDATE, least=0)] = 0
    epochs: Annotated[float, Setting("How often each row is used.", UPDATE, above=0)] = 10.0
    mix: Annotated[
        Mapping[str, Annotated[float, Range(least=0)]],
        Setting(
            "Share of each task or task/source, such as score=2,degradation/synth=1; by default as in the data.",
            UPDATE,
            metavar="SHARES",
        ),
    ] = field(default_factory=dict)
    total_batch: Annotated[
        int, Setting("Completions in an update, over all processes.", UPDATE, option="--batch", least=1)
    ] = 128
    per_device_batch: Annotated[int, Setting("Completions at a time on each process.", UPDATE, least=1)] = 8
    learning_rate: Annotated[float, Setting("Learning rate at the start.", UPDATE, above=0)] = 1.0e-6
    final_learning_rate: Annotated[
        float, Setting("Learning rate at the end; it decreases linearly.", UPDATE, least=0)
    ] = 1.0e-9
    warmup_steps: Annotated[int, Setting("Updates in which the learning rate rises from 0.", UPDATE, least=0)] = 0
    weight_decay: Annotated[float, Setting("Weight decay of AdamW.", UPDATE, least=0)] = 0.0
    max_grad_norm: Annotated[float, Setting("Scale longer gradients down to this norm.", UPDATE, least=0)] = 1.0
    beta: Annotated[float, Setting("Weight of the KL divergence penalty, Eq. 2.", UPDATE, least=0)] = 1.0e-3
    clip: Annotated[float, Setting("delta of Eq. 2: ratios are clipped at 1 ± X.", UPDATE, above=0)] = 0.2
    num_iterations: Annotated[int, Setting("Updates from each set of completions.", UPDATE, least=1)] = 1
    skip_zero_variance: Annotated[
        bool, Setting("Leave out groups whose rewards are all equal. Not in the paper.", UPDATE)
    ] = False
    mask_truncated: Annotated[bool, Setting("Truncated completions do not count. Not in the paper.", UPDATE)] = False

    lora_rank: Annotated[
        int,
        Setting("Train a low-rank adapter of rank N; 0 trains the weights.", LARGE, least=0, option="--lora"),
    ] = 0
    lora_alpha: Annotated[int, Setting("The adapter is scaled by N / rank; 0 is twice the rank.", LARGE, least=0)] = 0
    lora_targets: Annotated[
        tuple[str, ...], Setting("Adapted projections: q_proj,v_proj; all by default.", LARGE, metavar="NAMES")
    ] = PROJECTIONS
    freeze_vision: Annotated[
        bool, Setting("Do not train the vision module.", LARGE, option="--freeze-vision/--train-vision")
    ] = False
    gradient_checkpointing: Annotated[
        bool, Setting("Compute activations again in the backward pass: less memory, more time.", LARGE)
    ] = False
    bf16: Annotated[bool, Setting("Compute in bfloat16 (autocast).", LARGE)] = True
    dtype: Annotated[Literal["float32", "bfloat16"], Setting("Type of the weights while they train.", LARGE)] = (
        "float32"
    )
    final_dtype: Annotated[Literal["float32", "bfloat16"], Setting("Type of the weights in final/.", LARGE)] = (
        "bfloat16"
    )

    log_every: Annotated[int, Setting("Updates between lines of metrics.jsonl.", RUN, least=1)] = 1
    save_every: Annotated[int, Setting("Updates between checkpoints.", RUN, least=1)] = 100
    eval_every: Annotated[int, Setting("Updates between evaluations on --eval-data.", RUN, least=1)] = 100
    eval_rows: Annotated[int, Setting("At most N rows of --eval-data.", RUN, least=1)] = 512
    report_to: Annotated[ReportTo, Setting("Also log to this tracker.", RUN)] = "none"


def check(recipe: GrpoRecipe) -> None:
    """Raises QInsightError for keys that contradict each other, or that name something unknown."""
    from qinsight_cli.core.tasks import TASKS

    check_names("task", recipe.tasks, TASKS, "tasks")
    check_names(
        "reward", recipe.weights, sorted({reward for task in TASKS.values() for reward in task.weights}), "weights"
    )
    check_names("projection", recipe.lora_targets, PROJECTIONS, "lora_targets")
    check_mix(recipe.mix, "--mix")
    refusals = {
        "no task to train": not recipe.tasks,
        "no lora_targets": not recipe.lora_targets,
        "--num-generations must be 2 or more: GRPO compares the completions of one prompt": recipe.num_generations < 2,
        _rates(recipe): recipe.final_learning_rate >= recipe.learning_rate,
        f"save_every {recipe.save_every} must be a multiple of num_iterations {recipe.num_iterations}": (
            recipe.save_every % recipe.num_iterations > 0
        ),
        "score_reward gaussian needs a score_epsilon above 0": (
            recipe.score_reward == "gaussian" and not recipe.score_epsilon
        ),
        "--vllm server needs --vllm-url, where TRL's server listens": recipe.vllm == "server" and not recipe.vllm_url,
    }
    for message, wrong in refusals.items():
        if wrong:
            raise QInsightError(message)


def _rates(recipe: GrpoRecipe) -> str:
    ratio = GrpoRecipe.final_learning_rate / GrpoRecipe.learning_rate
    return (
        f"final_learning_rate {recipe.final_learning_rate:g} is not below learning_rate {recipe.learning_rate:g}; give "
        f"--final-learning-rate too, for example {recipe.learning_rate * ratio:g}"
    )
