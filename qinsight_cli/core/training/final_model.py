"""A trained model as a folder: weights under the hub's names and in one dtype, and the files of the model it came from.

Stock transformers, older ones too, and vLLM read such a folder wherever they read the model that training began with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qinsight_cli.core.files import write_text
from qinsight_cli.core.models.loading import pixel_limits
from qinsight_cli.core.models.names import DECIDING

PREPROCESSOR = "preprocessor_config.json"  # of the hub's layout; transformers 5 writes processor_config.json instead


def write_model(
    folder: Path, network: Any, weights: Iterable[tuple[str, Any]], dtype: str, processor: Any, base: Path
) -> None:
    """Write `weights` (name in the network, tensor) to `folder`, each moved to the CPU in `dtype` before the next is
    asked for.

    base  the folder of the model that training began with. If it has the hub's layout, its configuration, tokenizer and
          chat template are kept as they are, with the dtype and the limits of the pixels of this run.
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
        shutil.copymode(folder / "config.json", path)  # safetensors lets only its owner read what it writes
    if (base / PREPROCESSOR).is_file():
        _keep_files(folder, base, pixel_limits(processor))
    else:
        processor.save_pretrained(folder)
    _say_dtype(folder / "config.json", dtype)


def load_checkpoint(network: Any, folder: str) -> None:
    """Load the weights of a checkpoint. Trainer would load nothing: it does not find the names of a vision-language
    model."""
    loaded = type(network).from_pretrained(folder, dtype=network.dtype, local_files_only=True)
    network.load_state_dict(loaded.state_dict(), strict=True)


def keep_hub_names(network: Any) -> None:
    """Make the network save the hub's names. Under ZeRO-3 transformers remembers every way to read older names, and
    would undo all of them."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import PrefixChange
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        ways = get_model_conversion_mapping(network, add_legacy=False)
        network._weight_conversions = [way for way in ways if not isinstance(way, PrefixChange)]


def tied(network: Any) -> list[str]:
    """The names of weights that are others under a second name; a folder does not hold them."""
    text = network.config.get_text_config()
    if not (network.config.tie_word_embeddings or getattr(text, "tie_word_embeddings", False)):
        return []
    return list(network.all_tied_weights_keys)


def _keep_files(folder: Path, base: Path, limits: dict[str, int]) -> None:
    for path in sorted(base.iterdir()):
        if path.suffix in DECIDING and not path.name.endswith(".safetensors.index.json"):
            shutil.copy(path, folder / path.name)
    content = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    content |= limits
    if "size" in content:
        content["size"] = {"shortest_edge": limits["min_pixels"], "longest_edge": limits["max_pixels"]}
    write_text(folder / PREPROCESSOR, json.dumps(content, indent=2) + "\n")


def _say_dtype(path: Path, dtype: str) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["torch_dtype" if "torch_dtype" in content else "dtype"] = dtype
    for part in ("text_config", "vision_config"):
        if "dtype" in content.get(part, {}):
            content[part]["dtype"] = dtype
    write_text(path, json.dumps(content, indent=2) + "\n")
