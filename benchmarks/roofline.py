"""The roofline: floating-point operations and bytes that a Qwen2.5-VL network needs for one picture.

A multiplication with a weight counts as two operations. Operations bound the prefill. Decoding is bound by the larger
of operations and bytes: each step reads the weights once, and the keys and values of every sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from measuring import least_seconds

# Dense operations a second in bfloat16, and bytes a second, as NVIDIA publishes them.
KNOWN = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.04e12)}


@dataclass(frozen=True)
class Shape:
    """Sizes of a network; `item` is the bytes of a number."""

    vision_depth: int
    vision_hidden: int
    vision_intermediate: int
    full_attention: int
    window: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    item: int = 2

    @classmethod
    def of(cls, config: Any, item: int = 2) -> Shape:
        """The sizes in a configuration of transformers; `window` is in patches."""
        vision, text = config.vision_config, config.text_config
        return cls(
            *(vision.depth, vision.hidden_size, vision.intermediate_size, len(vision.fullatt_block_indexes)),
            (vision.window_size // vision.patch_size) ** 2,
            *(text.hidden_size, text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads),
            *(text.intermediate_size, text.vocab_size, item),
        )

    @property
    def layer_weights(self) -> int:
        """Weights of all layers of the decoder."""
        keys = self.hidden // self.heads * self.kv_heads
        return self.layers * (2 * self.hidden**2 + 2 * self.hidden * keys + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys and values of one token."""
        return 2 * self.layers * self.hidden // self.heads * self.kv_heads * self.item

    def seeing(self, patches: int) -> float:
        """Operations of the vision tower for one picture."""
        wide, inner = self.vision_hidden, self.vision_intermediate
        block = 4 * wide**2 + 3 * wide * inner
        near = min(self.window, patches)
        attention = (self.full_attention * patches + (self.vision_depth - self.full_attention) * near) * wide
        merger = patches / 4 * (4 * wide) * (4 * wide + self.hidden)
        return 2 * patches * self.vision_depth * block + 4 * patches * attention + 2 * merger

    def reading(self, tokens: int) -> float:
        """Operations of the decoder for a prompt."""
        attention = 2 * self.layers * tokens**2 * self.hidden  # half of it is masked
        return 2 * tokens * self.layer_weights + attention + 2 * self.head_weights

    def step(self, batch: int, tokens: float) -> tuple[float, float]:
        """Operations and bytes of one decoding step of a batch whose sequences have `tokens` tokens so far."""
        weights = self.layer_weights + self.head_weights
        attention = 4 * self.layers * tokens * self.hidden
        return batch * (2 * weights + attention), weights * self.item + batch * tokens * self.cache_bytes

    def seconds(
        self, batch: int, patches: int, prompt: int, written: int, operations: float, bandwidth: float
    ) -> float:
        """The least time of a batch on a device with these operations and bytes a second."""
        needed, moved = self.step(batch, prompt + written / 2)
        reading = batch * (self.seeing(patches) + self.reading(prompt)) / operations
        return reading + (written - 1) * max(needed / operations, moved / bandwidth)


def device_limits(device: Any, dtype: Any) -> tuple[float, float, str]:
    """Operations a second, bytes a second, and their origin: published or measured here."""
    import torch

    if device.type == "cuda" and dtype.itemsize == 2:
        name = torch.cuda.get_device_name(device)
        for known, (operations, bandwidth) in KNOWN.items():
            if known in name:
                return operations, bandwidth, f"published for {known}"
    side = 4096 if device.type == "cuda" else 512
    square = torch.ones(side, side, device=device, dtype=dtype)
    large = torch.ones(side * side * 4, device=device, dtype=dtype)

    def seconds(work: Callable[[], Any]) -> float:
        def finished() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return least_seconds(finished, 5)

    multiplying, copying = seconds(lambda: square @ square), seconds(large.clone)
    return 2 * side**3 / multiplying, 2 * large.nbytes / copying, "measured here"
