"""A trained model as a folder: weights by the hub's names in one dtype, and the other files of the model at the start.

Stock transformers, also older versions, and vLLM read such a folder if they read the model that training started from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qinsight_cli.core.files import write_text
from qinsight_cli.core.models.names import DECIDING
from qinsight_cli.core.models.processor import pixel_limits

PREPROCESSOR = "preprocessor_config.json"  # of the hub's layout; transformers 5 writes processor_config.json instead


def write_model(
    folder: Path, network: Any, weights: Iterable[tuple[str, Any]], dtype: str, processor: Any, base: Path
) -> None:
    """Write `weights` (name in the network, tensor) to `folder`. Each is moved to the CPU in `dtype` before the next is
    made.

    base  the folder of the model that training started from. If it has the hub's layout, its configuration, tokenizer
          and chat template are copied, and get the dtype and the pixel limits of this run.
    """
    import torch

    state = {}
    for name, value in weights:
        state[name] = value.detach().to("cpu", getattr(torch, dtype))
        del value  # not held while the next is made
    for name in tied(network):
        state.pop(name, None)
    network.save_pretrained(folder, state_dict=state)
    for path in folder.glob("*.safetensors"):
        shutil.copymode(folder / "config.json", path)  # safetensors makes its files readable for their owner only
    if (base / PREPROCESSOR).is_file():
        _copy_files(folder, base, pixel_limits(processor))
    else:
        processor.save_pretrained(folder)
    _write_dtype(folder / "config.json", dtype)


def load_checkpoint(network: Any, folder: str) -> None:
    """Load the weights of a checkpoint. Trainer would load nothing: it does not find the names of a vision-language
    model."""
    loaded = type(network).from_pretrained(folder, dtype=network.dtype, local_files_only=True)
    network.load_state_dict(loaded.state_dict(), strict=True)


def keep_hub_names(network: Any) -> None:
    """Make the network save the hub's names. Under ZeRO-3 transformers records every mapping from older names, and
    would reverse all of them."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import PrefixChange
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        mappings = get_model_conversion_mapping(network, add_legacy=False)
        network._weight_conversions = [each for each in mappings if not isinstance(each, PrefixChange)]


def tied(network: Any) -> list[str]:
    """The second names of tied weights, which a model folder does not hold."""
    text = network.config.get_text_config()
    if not (network.config.tie_word_embeddings or getattr(text, "tie_word_embeddings", False)):
        return []
    return list(network.all_tied_weights_keys)


def _copy_files(folder: Path, base: Path, limits: dict[str, int]) -> None:
    for path in sorted(base.iterdir()):
        if path.suffix in DECIDING and not path.name.endswith(".safetensors.index.json"):
            shutil.copy(path, folder / path.name)
    content = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    content |= limits
    if "size" in content:
        content["size"] = {"shortest_edge": limits["min_pixels"], "longest_edge": limits["max_pixels"]}
    write_text(folder / PREPROCESSOR, json.dumps(content, indent=2) + "\n")


def _write_dtype(path: Path, dtype: str) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["torch_dtype" if "torch_dtype" in content else "dtype"] = dtype
    for part in ("text_config", "vision_config"):
        if "dtype" in content.get(part, {}):
            content[part]["dtype"] = dtype
    write_text(path, json.dumps(content, indent=2) + "\n")
