"""The schedule of a GRPO run, computed before a model is loaded: rows, batches, steps."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe


@dataclass(frozen=True)
class UpdateBatch:
    """How the completions of an update are divided: per_device * accumulation * processes = total_batch."""

    per_device: int
    accumulation: int
    processes: int
    prompts: int


@dataclass(frozen=True)
class Schedule:
    """The rows of a run, one prompt each, and the updates it makes."""

    batch: UpdateBatch
    rows: tuple[Sample, ...]
    steps: int

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(row.task for row in self.rows).items()))


def make_schedule(recipe: GrpoRecipe, samples: Sequence[Sample], processes: int) -> Schedule:
    """Raises QInsightError if the batch does not divide evenly or the data is too small for one update."""
    batch = divide(recipe, processes)
    missing = next((task for task in recipe.tasks if not any(row.task == task for row in samples)), None)
    if missing:
        raise QInsightError(
            f"the data has no training rows for the task {missing}; prepare a dataset that has, for example: "
            f"qinsight prepare synth PHOTOS --tasks {missing}"
        )
    rows = mixed(samples, recipe)
    if len(rows) < batch.prompts:
        raise QInsightError(
            f"the data has {len(rows)} training rows and an update takes {batch.prompts} prompts; "
            f"lower --batch below {recipe.total_batch}"
        )
    steps = recipe.max_steps or math.ceil(recipe.epochs * (len(rows) // batch.prompts))
    needed = math.ceil(steps / recipe.num_iterations) * batch.prompts
    if needed < len(rows):
        rows = random.Random(recipe.seed).sample(rows, needed)
    return Schedule(batch, tuple(rows), steps)


def divide(recipe: GrpoRecipe, processes: int) -> UpdateBatch:
    """The recipe's total batch of completions on this many processes."""
    total, group = recipe.total_batch, recipe.num_generations
    if total % group:
        fits = max(group, total // group * group)
        raise QInsightError(f"a batch of {total} completions cannot be cut into groups of {group}; try --batch {fits}")
    together = recipe.per_device_batch * processes
    if total % together:
        fitting = [size for size in range(1, recipe.per_device_batch + 1) if total % (size * processes) == 0]
        way_out = f"try --per-device-batch {fitting[-1]}" if fitting else f"{total} does not divide by {processes}"
        raise QInsightError(
            f"a batch of {total} completions is not a multiple of {recipe.per_device_batch} on each of "
            f"{processes} {'process' if processes == 1 else 'processes'}; {way_out}"
        )
    return UpdateBatch(recipe.per_device_batch, total // together, processes, total // group)


def mixed(samples: Sequence[Sample], recipe: GrpoRecipe) -> list[Sample]:
    """The rows of one epoch: all rows, or the same number with the shares of the recipe's mix.

    A share larger than the data repeats rows; every row is used once before any is used twice.
    """
    rows = [row for row in samples if row.task in recipe.tasks]
    if not recipe.mix:
        return rows
    rng = random.Random(recipe.seed)
    total, chosen = sum(recipe.mix.values()), []
    for name, share in recipe.mix.items():
        task, _, source = name.partition("/")
        own = [row for row in rows if row.task == task and source in ("", row.source)]
        if not own:
            raise QInsightError(f"--mix asks for {name}{_why_none(task, rows, recipe)}")
        count = round(len(rows) * share / total)
        chosen += own * (count // len(own)) + rng.sample(own, count % len(own))
    return chosen


def _why_none(task: str, rows: Sequence[Sample], recipe: GrpoRecipe) -> str:
    """The reason why a share of the mix has no rows, with the nearest known name."""
    if task not in recipe.tasks:
        near = get_close_matches(task, recipe.tasks, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f", and {task} is not among the tasks of this run, {', '.join(recipe.tasks)}{hint}"
    sources = sorted({row.source for row in rows if row.task == task})
    return f", and the data has no such rows; its {task} rows come from {', '.join(sources)}"
