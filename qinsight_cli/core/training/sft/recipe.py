"""The keys of an SFT recipe: the network, if it is new, and the phases of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.keys import HIGHEST_SEED, STRICT, Range, check_mix, check_names
from qinsight_cli.core.training.lora import PROJECTIONS
from qinsight_cli.core.training.reporting import ReportTo
from qinsight_cli.core.training.sft.new_model import Shape

Count = Annotated[int, Range(least=0)]
Many = Annotated[int, Range(least=1)]
Rate = Annotated[float, Range(above=0)]
Share = Annotated[float, Range(above=0, most=1)]
Weight = Annotated[float, Range(least=0)]


@dataclass(frozen=True)
class Phase:
    """One phase of training with its own batches and learning rate.

    kind    "see" trains the vision tower with direct heads, "talk" trains the whole model on the answers
    crop    side in pixels of a random square cut from the resized picture; 0 takes it whole, as inference does
    windows shares of width and height, one drawn for each batch and cut at random: gives other shapes than the data
            has, because the positions of text depend on the shape of the picture before it
    batch   pictures per step; a row with several pictures counts as several
    accumulation   parts of a step, which are computed one after the other
    mix     share of each `task` or `task/source` in the batches
    direct_share   share of the rows that are answered without reasoning, for `--mode direct`
    led_share      share of the reasoned degradation rows whose reasoning names another damage than the picture shows;
                   that reasoning is given, not learned, so that the answer learns to repeat the reasoning
    clean_weight   frequency of clean pictures, relative to one class of damage
    frozen_blocks  this many blocks at the start of a convolutional vision module stay frozen
    keep_cells     compute what the frozen blocks give once for each picture, and keep it in the run folder; the vision
                   module must be convolutional with frozen blocks, and pictures are neither cut nor mirrored
    strips         with keep_cells: a number drawn for each batch. Its pictures are cut into this many strips, side by
                   side or, if negative, one below the other, which gives the shapes of panoramas; 1 changes nothing
    """

    name: str
    kind: Literal["see", "talk"]
    steps: Many
    batch: Many
    learning_rate: Rate
    mix: Mapping[str, Weight]
    accumulation: Many = 1
    crop: Count = 0
    windows: tuple[tuple[Share, Share], ...] = ((1.0, 1.0),)
    vision_learning_rate: Rate | None = None
    frozen_blocks: Count = 0
    keep_cells: bool = False
    strips: tuple[int, ...] = (1,)
    direct_share: Annotated[float, Range(least=0, most=1)] = 0.0
    led_share: Annotated[float, Range(least=0, most=1)] = 0.0
    clean_weight: Rate = 1.0
    warmup: Count = 0


@dataclass(frozen=True)
class SftRecipe:
    """Supervised fine-tuning. `model` is a model name, or "new" for a new network of the shape `network`.

    token_weights  loss weight of tokens of a kind; all others have 1
    bf16           steps in bfloat16 autocast
    dtype          of the weights while they train; bfloat16 only for the frozen ones under an adapter
    lora_rank      train a low-rank adapter of this rank in "talk" phases and merge it after each; 0 trains the weights
    lora_alpha     the adapter is scaled by lora_alpha / lora_rank; 0 is twice the rank
    lora_targets   adapted projections of the language model
    freeze_vision  leave the vision module as it is
    gradient_checkpointing  less memory, more time
    max_pixels     resize pictures to at most this many pixels; 0 is the model's own limit
    final_dtype    of the final weights as written
    workers        processes that prepare batches
    rating_spread  standard deviation of the ratings that the digits of an answer are drawn from; 0: the rating itself
    report_to      also log there; each phase is a run of its own
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: str
    seed: Annotated[int, Range(least=0, most=HIGHEST_SEED)]
    phases: tuple[Phase, ...]
    network: Shape = field(default_factory=Shape)
    token_weights: Mapping[str, Weight] = field(default_factory=dict)
    bf16: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    lora_rank: Count = 0
    lora_alpha: Count = 0
    lora_targets: tuple[str, ...] = PROJECTIONS
    freeze_vision: bool = False
    gradient_checkpointing: bool = False
    max_pixels: Count = 0
    final_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    workers: Count = 1
    rating_spread: Weight = 0.0
    report_to: ReportTo = "none"


def check(recipe: SftRecipe) -> None:
    """Raises QInsightError for a span that no task has, for a phase without rows, and for a name unfit for a folder."""
    from qinsight_cli.core.tasks import spans

    check_names("span", recipe.token_weights, spans(), "token_weights")
    check_names("projection", recipe.lora_targets, PROJECTIONS, "lora_targets")
    if recipe.dtype == "bfloat16" and not recipe.lora_rank:
        raise QInsightError("weights in bfloat16 cannot take updates as small as these; use dtype float32 or lora_rank")
    if recipe.lora_rank and (recipe.model == "new" or any(phase.kind == "see" for phase in recipe.phases)):
        raise QInsightError("lora_rank adapts an existing model; a new one and see phases train whole weights")
    for phase in recipe.phases:
        if phase.batch % phase.accumulation:
            raise QInsightError(
                f"phase {phase.name}: a batch of {phase.batch} cannot be cut into {phase.accumulation} equal parts"
            )
        check_mix(phase.mix, f"phase {phase.name}, mix")
        if not phase.mix:
            raise QInsightError(f"phase {phase.name}: mix names no task")
        if not phase.windows:
            raise QInsightError(f"phase {phase.name}: windows is empty; [[1, 1]] takes pictures whole")
        if phase.keep_cells and (phase.crop or tuple(phase.windows) != ((1.0, 1.0),)):
            raise QInsightError(f"phase {phase.name}: keep_cells takes pictures whole; remove crop and windows")
        if tuple(phase.strips) != (1,) and not phase.keep_cells:
            raise QInsightError(f"phase {phase.name}: strips are cut from kept cells; set keep_cells")
        if not phase.strips:
            raise QInsightError(f"phase {phase.name}: strips is empty; [1] leaves pictures as they are")
        if not phase.name or "/" in phase.name or phase.name.startswith("."):
            raise QInsightError(f"phase {phase.name!r}: its name is that of a folder in the run")
