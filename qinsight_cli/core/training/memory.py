"""The memory that a run needs, computed without loading a model, for `--dry-run`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.models.memory import GB, weight_shapes

VISION_PREFIXES = ("visual.", "model.visual.")  # hub names and module names of the vision tower
# Parameters of models that may not be on this machine: in total, and of the vision tower.
KNOWN_SIZES = {
    "qwen2.5-vl-7b": (8_292_166_656, 676_550_144),
    "q-insight": (8_292_166_656, 676_550_144),
}
QWEN_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
LONG = ("gate_proj", "up_proj", "down_proj")  # as wide as the inner layer


@dataclass(frozen=True)
class Adapter:
    """Parameters of a low-rank adapter, and of the largest weight that it changes."""

    size: int = 0
    largest: int = 0


NO_ADAPTER = Adapter()


def sizes(model: str, folder: Path | None) -> tuple[int, int] | None:
    """Parameters of a model and of its vision tower, from the headers of its weight files; None if unknown."""
    if folder is None:
        return KNOWN_SIZES.get(model)
    counts = {name: math.prod(shape) for name, shape, _ in weight_shapes(folder)}
    return sum(counts.values()), sum(count for name, count in counts.items() if name.startswith(VISION_PREFIXES))


def adapter_of(rank: int, targets: Sequence[str], folder: Path | None) -> Adapter:
    """The adapter of a run on the model of a folder, or on the 7B model."""
    if not rank:
        return NO_ADAPTER
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else QWEN_7B
    return Adapter(_lora_size(rank, targets, config), _largest_adapted(targets, config))


def _lora_size(rank: int, targets: Sequence[str], config: Mapping[str, Any]) -> int:
    """The parameters of an adapter, from a config.json in its old flat form or the new one."""
    text = {**config, **config.get("text_config", {})}
    hidden, inner, layers = text["hidden_size"], text["intermediate_size"], text["num_hidden_layers"]
    keys = hidden // text["num_attention_heads"] * text["num_key_value_heads"]
    widths = {
        "q_proj": hidden + hidden,
        "k_proj": hidden + keys,
        "v_proj": hidden + keys,
        "o_proj": hidden + hidden,
        **dict.fromkeys(LONG, hidden + inner),
    }
    return rank * layers * sum(widths[name] for name in targets if name in widths)


def _largest_adapted(targets: Sequence[str], config: Mapping[str, Any]) -> int:
    text = {**config, **config.get("text_config", {})}
    long = any(name in LONG for name in targets)
    return int(text["hidden_size"] * (text["intermediate_size"] if long else text["hidden_size"]))


def parts(
    dtype: str, parameters: int, trained: int, adapter: Adapter = NO_ADAPTER, reference: int = 0
) -> dict[str, float]:
    """GB that one process needs for weights, gradients, AdamW's two moments and the reference model, in bytes / 1e9.

    trained    parameters that training changes
    reference  parameters of the reference model
    A merge of the adapter, one weight after the other, holds the largest adapted weight three times in float32.
    Activations and the cache of the rollouts come on top.
    """
    width = 2 if dtype == "bfloat16" else 4
    return {
        "weights": (parameters * width + adapter.size * 4) / GB,
        "gradients": trained * 4 / GB,
        "optimizer": trained * 8 / GB,
        "merge": adapter.largest * 12 / GB,
        "reference": reference * width / GB,
    }


def line(found: Mapping[str, float], parameters: int, shared: str) -> str:
    """The line of `--dry-run`; `shared` says how several processes divide the memory."""
    named = " + ".join(f"{name} {size:.2f}" for name, size in found.items() if size)
    return f"{sum(found.values()):.2f} GB = {named}, for {parameters:,} parameters; {shared}; activations come on top"
