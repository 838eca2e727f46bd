"""A key-value cache with room for all new tokens, and how many copies of it fit into memory.

Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

from qinsight_cli.core.models.memory import free_bytes

FILLED = 0.8  # share of the free memory for copies of a cache; the rest is for activations


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer in a buffer with room for all new tokens.

    A `DynamicLayer` copies the whole cache for every token; this class copies only the token.
    """

    def __init__(self, keys: Tensor, values: Tensor, copies: int, room: int) -> None:
        """keys, values: (batch, heads, length, size) of the prompt; each row is repeated `copies` times."""
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._length = keys.shape[2]
        self._buffers = [_with_room(states, copies, room) for states in (keys, values)]
        self._show()

    @property
    def length(self) -> int:
        return self._length

    def _show(self) -> None:
        self.keys, self.values = (buffer[:, :, : self._length] for buffer in self._buffers)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start, self._length = self._length, self._length + key_states.shape[2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self._length] = states
        self._show()
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        self._buffers = [buffer[indices.to(buffer.device)] for buffer in self._buffers]
        self._show()


def _with_room(states: Tensor, copies: int, room: int) -> Tensor:
    batch, heads, length, size = states.shape
    buffer = states.new_empty(batch * copies, heads, length + room, size)
    buffer.view(batch, copies, heads, length + room, size)[:, :, :, :length] = states[:, None]
    return buffer


def copies_that_fit(layers: Sequence[Any], room: int) -> int | None:
    """How many copies of each prompt fit into the free memory of the devices that hold its layers, at least one; None
    if a device does not report its free memory."""
    needed: dict[Any, int] = {}
    for layer in layers:
        for states in (layer.keys, layer.values):
            grown = states.numel() // states.shape[2] * (states.shape[2] + room) * states.element_size()
            needed[states.device] = needed.get(states.device, 0) + grown
    found = []
    for device, count in needed.items():
        free = free_bytes(device)
        if free is None:
            return None
        found.append(max(1, int(free * FILLED) // count))
    return min(found)
