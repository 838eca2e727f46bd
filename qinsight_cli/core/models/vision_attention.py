"""Attention of the vision tower over many windows at once.

Most layers of Qwen2.5-VL's tower attend within windows of at most 8 x 8 patches, the others within whole pictures.
transformers calls attention once for each window: 27,220 times for a picture of 12 megapixels. Here all windows of one
length go through attention as one batch: the same numbers in a few calls.
Imports torch and transformers: import this module only when a model is in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision


@dataclass(frozen=True)
class Windows:
    """The tokens of the windows of each length, and their original order.

    groups  index tensors (windows, length) of tokens
    back    (tokens,): the place of each token in the concatenated groups
    """

    groups: tuple[Tensor, ...]
    back: Tensor

    @classmethod
    def of(cls, bounds: Tensor) -> Windows:
        """bounds: (windows + 1,), the start of each window and the end of the last (`cu_seqlens`)."""
        starts = bounds.tolist()
        by_length: dict[int, list[int]] = {}
        for start, end in pairwise(starts):
            if end > start:  # small pictures have empty windows
                by_length.setdefault(end - start, []).append(start)
        device = bounds.device
        groups = tuple(
            torch.tensor(begins, device=device)[:, None] + torch.arange(length, device=device)
            for length, begins in by_length.items()
        )
        order = torch.cat([group.flatten() for group in groups])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=device)
        return cls(groups, back)


class WindowCache:
    """The windows of the current pictures. A tower has two kinds of bounds: of its windows, and of whole pictures."""

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, Windows]] = []

    def __call__(self, bounds: Tensor) -> Windows:
        for known, windows in self._known:
            if known is bounds:
                return windows
        windows = Windows.of(bounds)
        self._known = [*self._known[-1:], (bounds, windows)]
        return windows

    def __deepcopy__(self, memo: dict[int, Any]) -> WindowCache:
        return WindowCache()


def batch_windows(tower: Any) -> None:
    """Let every attention of a Qwen2.5-VL vision tower take its windows in batches."""
    cache = WindowCache()
    for block in tower.blocks:
        block.attn.windows = cache
        block.attn.forward = MethodType(_attend, block.attn)


def _attend(
    attention: Any,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    **_: Any,
) -> Tensor:
    """As `Qwen2_5_VLVisionAttention.forward`: (tokens, width) -> (tokens, width)."""
    count = len(hidden_states)
    parts = attention.qkv(hidden_states).reshape(count, 3, attention.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    query, key = apply_rotary_pos_emb_vision(parts[0], parts[1], *position_embeddings)
    windows: Windows = attention.windows(cu_seqlens)
    found = []
    for group in windows.groups:
        queries, keys, values = (states[group].transpose(1, 2) for states in (query, key, parts[2]))
        seen = scaled_dot_product_attention(queries, keys, values, scale=attention.scaling)
        found.append(seen.transpose(1, 2).reshape(group.numel(), -1))
    together = torch.cat(found) if len(found) > 1 else found[0]
    return attention.proj(together[windows.back])
