"""Recipes: one YAML file each, one section an algorithm; every figure of a training run is a line in one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.sft.new_model import Shape

FOLDER = Path(__file__).with_name("recipes")
_SECTIONS = ("base", "grpo", "sft")

KINDS = ("see", "talk")  # of phases
# What the values of a GrpoRecipe can be.
_CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "final_dtype": ("float32", "bfloat16"),
    "vllm": ("", "colocate", "server"),
    "score_reward": ("threshold", "gaussian"),
    "report_to": ("none", "tensorboard", "wandb", "trackio"),
}
_ABOVE_ZERO = (
    *("score_sigma", "temperature", "max_completion_tokens", "learning_rate", "epochs"),
    *("total_batch", "per_device_batch", "rollout_batch", "num_iterations", "clip"),
    *("log_every", "save_every", "eval_every", "eval_rows"),
)
_NOT_BELOW_ZERO = (
    *("beta", "final_learning_rate", "weight_decay", "max_grad_norm", "warmup_steps", "max_steps", "max_pixels"),
    *("lora_rank", "lora_alpha", "top_k", "rank_weight", "score_epsilon"),
)


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own batches and learning rate.

    kind    "see" trains the vision tower with direct heads, "talk" trains the whole model on the answers
    crop    side in pixels of a random square cut from the resized picture; 0 takes it whole, as inference does
    windows shares of width and height, one drawn for each batch and cut at random: pictures of other shapes than the
            data has, for the positions of text depend on the shape of the picture before it
    batch   pictures a step; a row with several pictures counts as several
    mix     share of each `task` or `task/source` in the batches
    direct_share   share of the rows that are answered without reasoning, for `--mode direct`
    frozen_blocks  so many blocks at the start of a convolutional vision module stay as they are
    """

    name: str
    kind: str
    steps: int
    batch: int
    learning_rate: float
    mix: Mapping[str, float]
    crop: int = 0
    windows: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    vision_learning_rate: float | None = None
    frozen_blocks: int = 0
    direct_share: float = 0.0
    warmup: int = 0


@dataclass(frozen=True)
class GrpoRecipe:
    """Multi-task GRPO, Eq. 1-8. The defaults are what a section need not say again; docs/training.md explains each.

    total_batch counts completions, so an update sees total_batch / num_generations prompts.
    """

    model: str = "tiny"
    tasks: tuple[str, ...] = ("score", "degradation")
    mix: Mapping[str, float] = field(default_factory=dict)  # share of each `task` or `task/source`; empty: as they are
    seed: int = 42
    # Eq. 1 and 2
    num_generations: int = 8
    beta: float = 1.0e-3
    clip: float = 0.2
    num_iterations: int = 1
    # Eq. 3-8
    score_epsilon: float = 0.35
    weights: Mapping[str, float] = field(default_factory=dict)  # reward name -> weight; empty: those of the tasks
    # rollouts
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_completion_tokens: int = 256
    max_pixels: int = 0  # 0: the model's own limit
    rollout_batch: int = 64  # completions written at a time
    # the update
    learning_rate: float = 1.0e-6
    final_learning_rate: float = 1.0e-9
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    epochs: float = 10.0
    max_steps: int = 0  # 0: as many as the epochs take
    total_batch: int = 128
    per_device_batch: int = 8
    # how it is computed
    dtype: str = "float32"  # of the weights while they train
    bf16: bool = True  # autocast of the steps
    final_dtype: str = "bfloat16"  # of the final weights as written
    gradient_checkpointing: bool = False
    freeze_vision: bool = False
    lora_rank: int = 0  # 0: all weights train
    lora_alpha: int = 0  # 0: twice the rank
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    vllm: str = ""  # colocate or server
    vllm_url: str = ""  # of the server
    vllm_memory: float = 0.3  # share of a GPU that colocated vLLM takes
    # the record
    log_every: int = 1
    save_every: int = 100
    eval_every: int = 100
    eval_rows: int = 512  # at most so many rows of the evaluation data
    report_to: str = "none"
    # beyond the paper
    skip_zero_variance: bool = False
    mask_truncated: bool = False
    score_reward: str = "threshold"  # or gaussian
    score_sigma: float = 0.35
    rank_weight: float = 0.0


@dataclass(frozen=True)
class SftRecipe:
    """Supervised fine-tuning. `model` is "new" for a network from nothing with `network`'s shape, or a model name."""

    model: str
    seed: int
    phases: tuple[Phase, ...]
    network: Shape = field(default_factory=Shape)
    token_weights: Mapping[str, float] = field(default_factory=dict)
    bf16: bool = True  # autocast of the steps; the weights train in float32
    final_dtype: str = "bfloat16"  # of the final weights as written
    workers: int = 1
    rating_spread: float = 0.0  # standard deviation of the rating that the digits of an answer are drawn from; 0: as is


def load_sft(name: str, overrides: Mapping[str, Any] | None = None) -> SftRecipe:
    """The sft section of a recipe: a name in the package or a YAML file. `overrides` win over what it says.

    Raises QInsightError naming an unknown recipe, an unknown key and the nearest known one, or a value of a wrong type.
    """
    content = _read(name)
    if "sft" not in content:
        raise QInsightError(f"recipe {name!r} has no sft section; it has {', '.join(content)}")
    if not isinstance(content["sft"], dict) or not content["sft"].get("phases"):
        raise QInsightError(f"recipe {name!r}: the sft section has no phases")
    section = {**content["sft"], **{key: value for key, value in (overrides or {}).items() if value is not None}}
    section["network"] = _build(Shape, section.get("network", {}), f"recipe {name!r}, network")
    section["phases"] = tuple(
        _build(Phase, phase, f"recipe {name!r}, phase {number}") for number, phase in enumerate(section["phases"], 1)
    )
    for phase in section["phases"]:
        if phase.kind not in KINDS:
            raise QInsightError(
                f"recipe {name!r}, phase {phase.name}: kind {phase.kind!r}; choose {' or '.join(KINDS)}"
            )
    return _build(SftRecipe, section, f"recipe {name!r}")


def load_grpo(name: str, overrides: Mapping[str, Any] | None = None) -> GrpoRecipe:
    """The grpo section of a recipe, checked. `overrides` win over the file, the file over the recipe it is based on.

    Raises QInsightError as `load_sft` does, and for a value that cannot be.
    """
    section = _section(name, "grpo", ())
    section.update({key: value for key, value in (overrides or {}).items() if value is not None})
    recipe = _build(GrpoRecipe, section, f"recipe {name!r}")
    for wrong, message in _refusals(recipe):
        if wrong:
            raise QInsightError(message)
    return recipe


def _section(name: str, algorithm: str, above: tuple[str, ...]) -> dict[str, Any]:
    """One section of a recipe over the same section of the recipe that its `base` line names."""
    content = _read(name)
    base = content.pop("base", None)
    if base in above:
        raise QInsightError(f"recipe {name!r} is based on itself")
    if base is None and algorithm not in content:
        raise QInsightError(f"recipe {name!r} has no {algorithm} section; it has {', '.join(content)}")
    section = content.get(algorithm) or {}
    if not isinstance(section, dict):
        raise QInsightError(f"recipe {name!r}: the {algorithm} section is no list of settings")
    return section if base is None else {**_section(str(base), algorithm, (*above, name)), **section}


def _refusals(recipe: GrpoRecipe) -> list[tuple[bool, str]]:
    rewards = sorted({reward for task in TASKS.values() for reward in task.weights})
    unknown = next((task for task in recipe.tasks if task not in TASKS), None)
    projection = next((name for name in recipe.lora_targets if name not in GrpoRecipe.lora_targets), None)
    unpaid = next((name for name in recipe.weights if name not in rewards), None)
    return [
        (unknown is not None, f"no task {unknown!r}; tasks are {', '.join(TASKS)}"),
        (not recipe.tasks, f"no task to train; tasks are {', '.join(TASKS)}"),
        (unpaid is not None, f"weights: no reward {unpaid!r}; rewards are {', '.join(rewards)}"),
        (
            recipe.num_generations < 2,
            "--num-generations must be 2 or more: GRPO compares the completions of one prompt",
        ),
        *((getattr(recipe, key) <= 0, f"{key} is {getattr(recipe, key)}; it must be above 0") for key in _ABOVE_ZERO),
        *(
            (getattr(recipe, key) not in allowed, f"{key} is {getattr(recipe, key)!r}; choose {' or '.join(allowed)}")
            for key, allowed in _CHOICES.items()
        ),
        (
            recipe.final_learning_rate >= recipe.learning_rate,
            f"final_learning_rate {recipe.final_learning_rate:g} is not below learning_rate {recipe.learning_rate:g}",
        ),
        (any(share < 0 for share in recipe.mix.values()), "a share of --mix is below 0"),
        (bool(recipe.mix) and sum(recipe.mix.values()) <= 0, "the shares of --mix are all 0"),
        *(
            (getattr(recipe, key) < 0, f"{key} is {getattr(recipe, key)}; it must be 0 or more")
            for key in _NOT_BELOW_ZERO
        ),
        (not 0 < recipe.top_p <= 1, f"top_p is {recipe.top_p:g}; it must be above 0 and at most 1"),
        (
            projection is not None,
            f"lora_targets: no projection {projection!r}; they are {', '.join(GrpoRecipe.lora_targets)}",
        ),
        (not recipe.lora_targets, f"no lora_targets; they are {', '.join(GrpoRecipe.lora_targets)}"),
        (
            recipe.save_every % recipe.num_iterations > 0,
            f"save_every {recipe.save_every} must be a multiple of num_iterations {recipe.num_iterations}",
        ),
        (recipe.vllm == "server" and not recipe.vllm_url, "--vllm server needs --vllm-url, where TRL's server listens"),
    ]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _read(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"recipes are {', '.join(names())}, or give a YAML file"
        raise QInsightError(f"no recipe {name!r}; {hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise QInsightError(f"recipe {name!r} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise QInsightError(f"recipe {name!r} has no sections; they are {', '.join(_SECTIONS)}")
    for key in content:
        if key not in _SECTIONS:
            raise QInsightError(f"recipe {name!r}: unknown section {key!r}{_did_you_mean(key, _SECTIONS)}")
    return content


def _build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    known = {item.name: item for item in fields(kind)}
    for key in values:
        if key not in known:
            raise QInsightError(f"{where}: unknown key {key!r}{_did_you_mean(key, known)}")
    read = {key: _number(value, str(known[key].type), f"{where}, {key}") for key, value in values.items()}
    try:
        return kind(**read)
    except TypeError as error:
        raise QInsightError(f"{where}: {error}") from error


def _did_you_mean(word: Any, known: Iterable[str]) -> str:
    near = get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _number(value: Any, annotation: str, where: str) -> Any:
    """YAML reads 1e-6 as text: numbers are checked against the type of their field."""
    try:
        if annotation.startswith("float"):
            if value is None and "None" in annotation:
                return None
            if not math.isfinite(float(value)):
                raise ValueError
            return float(value)
        if annotation == "bool" and not isinstance(value, bool):
            raise QInsightError(f"{where}: {value!r} is not true or false")
        if annotation == "str" and not isinstance(value, str):
            raise QInsightError(f"{where}: {value!r} is not text")
        if annotation.startswith("Mapping"):
            return {str(name): _number(share, "float", f"{where}, {name}") for name, share in value.items()}
        if annotation == "int":
            if isinstance(value, bool) or not float(value).is_integer():
                raise ValueError
            return int(value)
    except (TypeError, ValueError):
        raise QInsightError(f"{where}: {value!r} is not a number") from None
    except AttributeError:
        raise QInsightError(f"{where}: {value!r} is no list of names and numbers") from None
    if annotation.startswith("tuple[str") and isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return tuple(value) if isinstance(value, list) and annotation.startswith("tuple") else value
