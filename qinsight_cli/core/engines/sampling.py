"""The next token of each row: the likeliest, or a draw with random numbers of its own request.

The warpers are transformers', in its order. Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from qinsight_cli.core.engines import Decoding


class Chooser:
    """Logits -> the next token of each row."""

    def __init__(self, decoding: Decoding, uniforms: Tensor | None, banned: Tensor) -> None:
        """uniforms: float32 (rows, max_new_tokens) in [0, 1), None for greedy; banned: ids that are never sampled."""
        self._uniforms = uniforms
        self._banned = banned
        self._warpers: list[Any] = []
        if uniforms is not None:
            if decoding.temperature != 1.0:
                self._warpers.append(TemperatureLogitsWarper(float(decoding.temperature)))
            if decoding.top_k > 0:
                self._warpers.append(TopKLogitsWarper(decoding.top_k))
            if decoding.top_p < 1.0:
                self._warpers.append(TopPLogitsWarper(decoding.top_p))

    def keep(self, rows: Tensor) -> None:
        """Later logits have only these rows."""
        if self._uniforms is not None:
            self._uniforms = self._uniforms[rows]

    def __call__(self, logits: Tensor, step: int) -> Tensor:
        """logits: (rows, vocabulary), changed in place. Returns (rows,)."""
        logits = logits.float().index_fill_(1, self._banned, -torch.inf)
        if self._uniforms is None:
            return logits.argmax(dim=1)
        for warp in self._warpers:
            logits = warp(None, logits)
        # Inverse of the cumulative distribution, scaled by its last value, which rounding may leave unequal to 1.
        cumulative = logits.softmax(dim=1).cumsum(dim=1)
        target = self._uniforms[:, step, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, target, right=True).squeeze(1)
        return chosen.clamp_(max=logits.shape[1] - 1)


def uniforms(seeds: Sequence[int], samples: int, steps: int) -> Tensor:
    """The random numbers of a batch: float32 (len(seeds) * samples, steps) in [0, 1 - 2**-20].

    The generator of a row is seeded by its request's seed and its sample index alone. So a row is the same in any
    batch, in any order, with any number of other samples, and on any device.
    """
    rows = []
    for seed in seeds:
        for sample in range(samples):
            digest = hashlib.sha256(f"{seed}:{sample}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            rows.append(torch.rand(steps, generator=generator))
    return torch.stack(rows).clamp_(max=1.0 - 2.0**-20)
