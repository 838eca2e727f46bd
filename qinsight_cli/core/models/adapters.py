"""Low-rank adapters, as `--lora` and peft write them, added to the weights of their base model on loading.

A checkpoint of a run with `--lora` is an adapter too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import ADAPTER, first_line, folder_of, is_adapter, locate

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's, before the names in the network
# Settings of peft beyond plain LoRA, with the values of plain LoRA.
PLAIN = {"bias": "none", "use_dora": False, "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {}}


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder, the name of its base model, and the factor of its products."""

    folder: Path
    base: str
    scale: float

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def read_adapter(folder: Path) -> Adapter:
    """Raises QInsightError if a file is missing or cannot be read, and for anything but plain LoRA."""
    path = folder / ADAPTER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, base, rank = content["peft_type"], content["base_model_name_or_path"], content["r"]
        scale = float(content["lora_alpha"]) / (rank**0.5 if content.get("use_rslora") else rank)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise QInsightError(f"{path} cannot be read: {type(error).__name__}: {first_line(error)}") from error
    other = next((name for name, usual in PLAIN.items() if content.get(name, usual) not in (usual, None, [])), None)
    if kind != "LORA" or other:
        raise QInsightError(f"{path}: only plain LoRA adapters are read, not {other or kind}; merge it with peft")
    if not isinstance(base, str) or not base:
        raise QInsightError(f"{path} names no base model")
    if not (folder / WEIGHTS).is_file():
        raise QInsightError(f"{folder} has no {WEIGHTS}")
    return Adapter(folder, base, scale)


def find(name: str) -> tuple[Path, Adapter | None]:
    """The folder of the weights for a model name, and the adapter to add to them, if the name is an adapter.

    Raises QInsightError as `locate` does, also if the base model cannot be found.
    """
    folder = folder_of(name)
    if not is_adapter(folder):
        return locate(name), None
    adapter = read_adapter(folder)
    try:
        return locate(adapter.base), adapter
    except QInsightError as error:
        raise QInsightError(
            f"{adapter.folder} is an adapter of {adapter.base}, and that was not found: {error}"
        ) from error


def add(adapter: Adapter, network: Any) -> None:
    """Add the products of the adapter to the weights of the network: one at a time, in float32.

    Raises QInsightError if the file cannot be read, or does not fit the network.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = adapter.folder / WEIGHTS
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise QInsightError(f"{path} cannot be read: {first_line(error)}") from error
    weights = dict(network.named_parameters())
    for name in sorted(held):
        if ".lora_A." not in name:
            if ".lora_B." not in name:
                raise QInsightError(f"{path} holds {name}, which is no part of a plain LoRA adapter")
            continue
        down, up = held[name], held.get(name.replace(".lora_A.", ".lora_B."))
        target = weights.get(_in_network(name, weights))
        if target is not None and (target.is_meta or not target.is_floating_point()):
            raise QInsightError(f"{adapter.folder} is an adapter; it is not added to quantised or offloaded weights")
        if up is None or target is None or (up.shape[0], down.shape[1]) != tuple(target.shape):
            raise QInsightError(f"{path} does not fit {adapter.base}: {name}")
        with torch.no_grad():
            product = (up.float() @ down.float()) * adapter.scale
            target.copy_((target.float() + product.to(target.device)).to(target.dtype))


def _in_network(name: str, weights: dict[str, Any]) -> str:
    """The weight that a part of the adapter belongs to, also by the names of older transformers."""
    plain = name.removeprefix(PREFIX).partition(".lora_A.")[0] + ".weight"
    if plain in weights:
        return plain
    if plain.startswith("visual."):
        return f"model.{plain}"
    return plain.replace("model.", "model.language_model.", 1)
