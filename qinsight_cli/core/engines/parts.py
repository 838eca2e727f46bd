"""Samples in parts that fit into memory: every copy of a prompt has its own key-value cache.

A prompt is read once, however many parts there are, and a draw is the same in any part.
Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from qinsight_cli.core.engines import Decoding, generate, sampling
from qinsight_cli.core.engines.cache import copies_that_fit
from qinsight_cli.core.engines.generate import Endings, Leaving, PaddedPrompts, ReadPrompts, Written
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.memory import out_of_memory, release


class Writer:
    """Writes the completions of a batch. Once memory has run out, no later part has as many samples as that one."""

    def __init__(self, network: Any, tokenizer: Any, banned: list[int], endings: Endings) -> None:
        """banned: token ids that are never chosen."""
        self._network, self._tokenizer, self._endings = network, tokenizer, endings
        self._banned = torch.tensor(banned, dtype=torch.long, device=generate.input_device(network))
        self._most: int | None = None

    def write(
        self,
        prompts: PaddedPrompts,
        seeds: tuple[int, ...],
        decoding: Decoding,
        leave: Callable[[Leaving], None] = lambda _: None,
        hear: Callable[[Written], None] | None = None,
    ) -> list[list[Written]]:
        """For each prompt its samples, one where they are greedy. `leave` and `hear` as in `decode`.

        Raises torch.OutOfMemoryError if not even one sample of each prompt fits. Runs under torch.inference_mode.
        """
        copies = 1 if decoding.temperature == 0 else decoding.samples
        draws = None
        if decoding.temperature != 0:
            draws = sampling.uniforms(seeds, copies, decoding.max_new_tokens).view(len(seeds), copies, -1)
        read = generate.read_prompts(self._network, prompts)
        check_finite(self._network, read)
        fitting = copies if copies == 1 else copies_that_fit(read.layers, decoding.max_new_tokens)
        written: list[list[Written]] = [[] for _ in seeds]
        done = 0
        while done < copies:
            count = min(copies - done, *(most for most in (self._most, fitting) if most is not None))
            try:
                part = None if draws is None else draws[:, done : done + count].flatten(0, 1)
                rows = self._part(read, count, part, decoding, leave, None if done else hear, keep=copies > 1)
            except Exception as error:
                if not out_of_memory(error) or count == 1:
                    raise
                self._most = count // 2
                rows = []
            if not rows:  # out of the except block, which keeps the memory of what has failed
                release()
                continue
            for index, samples in enumerate(written):
                samples += rows[index * count : (index + 1) * count]
            done += count
        return written

    def _part(
        self,
        read: ReadPrompts,
        count: int,
        draws: torch.Tensor | None,
        decoding: Decoding,
        leave: Callable[[Leaving], None],
        hear: Callable[[Written], None] | None,
        keep: bool,
    ) -> list[Written]:
        moved = None if draws is None else draws.to(read.logits.device)
        choose = sampling.Chooser(decoding, moved, self._banned)
        start = read.copied(count, decoding.max_new_tokens, keep)
        ends, steps = self._endings, decoding.max_new_tokens
        return generate.decode(self._network, self._tokenizer, start, steps, choose, ends, leave, hear)


def check_finite(network: Any, read: ReadPrompts) -> None:
    """Raise QInsightError where a number has overflowed: the likeliest token of such logits would be made up."""
    if not bool(read.logits.isfinite().all()):
        dtype = str(network.dtype).removeprefix("torch.")
        raise QInsightError(f"the model's numbers overflow in {dtype}; give --dtype bfloat16 or float32")
