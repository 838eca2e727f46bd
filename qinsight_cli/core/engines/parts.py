"""Samples in parts that fit into memory, since every copy of a prompt needs its own key-value cache.

Each prompt is read once for all parts, and a sample is the same in any part.
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
    """Writes the completions of a batch. After memory has run out, all later parts are smaller."""

    def __init__(self, network: Any, tokenizer: Any, banned: list[int], endings: Endings) -> None:
        """banned: token ids that are never sampled."""
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
        """For each prompt its samples; one if decoding is greedy. `leave` and `hear` as in `decode`.

        Raises torch.OutOfMemoryError if not even one sample per prompt fits. Runs under torch.inference_mode.
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
            if not rows:  # after the except block, which holds the tensors of the failed part
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
    """Raise QInsightError if a logit has overflowed: an answer from such logits would be made up."""
    if not bool(read.logits.isfinite().all()):
        dtype = str(network.dtype).removeprefix("torch.")
        raise QInsightError(f"the model's numbers overflow in {dtype}; give --dtype bfloat16 or float32")
