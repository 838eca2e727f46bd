"""Checks of answers and prompts before the first step of a GRPO run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.tasks.base import completion_of
from qinsight_cli.core.training.grpo.rewards import best_reward, overall


def check_answers(samples: Sequence[Sample], tasks: Mapping[str, Task], weights: Mapping[str, float], tok: Any) -> int:
    """The longest gold completion in tokens.

    Raises QInsightError if a gold completion, encoded and decoded by this tokenizer, does not earn the full reward:
    then no completion can.
    """
    longest, seen = 0, set()
    for sample in samples:
        task, truth = tasks[sample.task], sample.answer()
        gold = completion_of("I see.", task.answer(truth))
        if (sample.task, gold) in seen:
            continue
        seen.add((sample.task, gold))
        ids = tok(gold, add_special_tokens=False)["input_ids"]
        read = tok.decode(ids, skip_special_tokens=True)
        earned, full = overall(task, weights, read, truth), best_reward(task, weights)
        if earned < full - 1e-9:
            raise QInsightError(
                f"row {sample.id}: its own answer earns {earned:g} of {full:g} after this model's tokenizer, "
                f"which reads it as {read!r}"
            )
        longest = max(longest, len(ids))
    return longest


def check_lengths(
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    found: Mapping[Path, tuple[int, int]],
    processor: Any,
    context: int,
    answer: int,
    room: int,
) -> int:
    """The longest prompt in tokens, pictures included. `room` tokens of completion must hold the gold `answer`."""
    if answer >= room:
        raise QInsightError(
            f"a right answer takes {answer} tokens and completions end after {room}; raise --max-completion-tokens"
        )
    target = Target.of(processor.image_processor)
    words: dict[tuple[str, tuple[str, ...]], int] = {}
    longest = 0
    for sample in samples:
        roles = tasks[sample.task].order(sample.images)
        if (sample.task, roles) not in words:
            text = processor.apply_chat_template(
                tasks[sample.task].messages(roles), add_generation_prompt=True, tokenize=False
            )
            words[sample.task, roles] = len(processor.tokenizer(text)["input_ids"]) - len(roles)
        sizes = (target.size(*found[sample.images[role]]) for role in roles)
        tokens = words[sample.task, roles] + sum(width * height // target.factor**2 for width, height in sizes)
        if tokens + room > context:
            raise QInsightError(
                f"row {sample.id}: its prompt takes {tokens} tokens, and with {room} for the completion that is more "
                f"than the {context} of this model; set --max-pixels"
            )
        longest = max(longest, tokens)
    return longest
