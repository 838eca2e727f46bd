"""The weights of a model with its processor, ready to answer. No remote code runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.adapters import add, find
from qinsight_cli.core.models.memory import one_line
from qinsight_cli.core.models.names import first_line, other_digests, weights_digest
from qinsight_cli.core.models.placement import NetworkOptions, Placement, attention_of, place, torch_device, torch_dtype
from qinsight_cli.core.models.processor import load_processor, pixel_limits

LARGEST_SIZE, MOST_LAYERS = 1 << 32, 1024  # of the numbers in a configuration
PHOTO_PIXELS = 1_003_520  # 1,280 tokens of 28 x 28 pixels, the limit that Qwen recommends for such use
LARGE_WIDTH = 2048  # of the decoder
PLAIN, ON_CPU = NetworkOptions(), Placement()


@dataclass(frozen=True)
class Model:
    """Loaded weights with their processor.

    `identity` is what a journal records of the model; `notes` tell the user which settings were chosen for it.
    """

    network: Any
    processor: Any
    identity: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_model(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    max_pixels: int | None = 0,
    options: NetworkOptions = PLAIN,
) -> Model:
    """Weights and processor of a model, ready to answer.

    device      auto (cuda, then mps, then cpu) or anything that torch.device reads. With auto, weights that are too
                large for one GPU are spread over all GPUs
    dtype       auto (`torch_dtype`), float32, float16 or bfloat16
    max_pixels  larger pictures are scaled down to this area. 0 is the model's own limit; None is the same for a small
                model, and `PHOTO_PIXELS` for a large one
    The folder of an adapter gives its base model with the adapter added.
    Raises QInsightError if the name, the folder or the device is wrong, or the weights do not fit.
    """
    folder, adapter = find(name)
    where = torch_device(device)
    precision = torch_dtype(dtype, where)
    processor = load_processor(folder, max_pixels or None)
    notes = _limit_photos(processor) if max_pixels is None and _is_large(folder) else ()
    attention = attention_of(options.attention, where, precision)
    placement = place(name, folder, device, where, precision, options)
    network = load_network(folder, precision, placement, attention)
    if adapter:
        add(adapter, network)
    network = network.eval() if placement.moved else network.to(where).eval()
    identity = {
        "model": name,
        "weights": weights_digest(folder, *([adapter.weights] if adapter else [])),
        "device": where.type,
        "dtype": str(precision).removeprefix("torch."),
        **({"quantize": options.quantize} if options.quantize else {}),
        **({"attention": attention} if attention != "sdpa" else {}),
        **pixel_limits(processor),
        "files": other_digests(folder),
    }
    return Model(network, processor, identity, notes)


def _is_large(folder: Path) -> bool:
    """Whether a model has billions of weights. Those of Qwen2.5-VL have a width of 2048 (3B) or more."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("hidden_size") or config.get("text_config", {}).get("hidden_size") or 0) >= LARGE_WIDTH


def _limit_photos(processor: Any) -> tuple[str, ...]:
    """Set the limit for photos if the model's own is higher -> the note on it."""
    limits = pixel_limits(processor)
    own = limits["max_pixels"]
    if own <= PHOTO_PIXELS:
        return ()
    processor.image_processor.size = {"shortest_edge": limits["min_pixels"], "longest_edge": PHOTO_PIXELS}
    return (
        f"pictures of more than {PHOTO_PIXELS:,} pixels are scaled down to that; "
        f"--max-pixels 0 for the model's own limit, {own:,}",
    )


def load_network(
    folder: Path, precision: Any, placement: Placement = ON_CPU, attention: str = "sdpa", **more: Any
) -> Any:
    """The network of a model folder from `locate`, in the given torch dtype, whatever the dtype of its files.

    It is on the CPU, or where `placement` puts it. `more` goes to transformers' from_pretrained. Raises QInsightError
    if a weight is missing.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    from qinsight_cli.core.models.conv_tower import register

    register()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on an invalid configuration
        raise QInsightError(f"{folder / 'config.json'} cannot be read: {first_line(error)}") from error
    _check_size(folder, config)
    flash = {"": "sdpa", "text_config": "sdpa", "vision_config": "flash_attention_2"}
    with one_line(placement.failure, folder), _quiet():
        network, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            # Decoding gives the decoder masks of four dimensions, which flash-attn does not take.
            attn_implementation=flash if attention == "flash" else "sdpa",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **_placed(placement),
            **more,
        )
    if report["missing_keys"]:
        # transformers would use random numbers instead.
        first = min(report["missing_keys"])
        raise QInsightError(
            f"{folder}: {len(report['missing_keys'])} weights are missing, {first} first; download the model again"
        )
    _speed_up(network.model.visual, attention)
    return network


def _placed(placement: Placement) -> dict[str, Any]:
    """The arguments of from_pretrained that a placement stands for; none when the weights load on the CPU."""
    given = {
        "device_map": placement.device_map,
        "max_memory": placement.max_memory,
        "quantization_config": placement.quantization,
    }
    return {name: value for name, value in given.items() if value is not None}


def _speed_up(tower: Any, attention: str) -> None:
    """Replace slow parts of a vision tower of transformers; the numbers stay the same."""
    embedding = getattr(tower, "patch_embed", None)
    if embedding is None:
        return
    if not hasattr(embedding.proj, "_hf_hook"):  # offloaded weights are fetched when the module is called
        embedding.forward = MethodType(_embed_patches, embedding)
    if attention == "sdpa":
        from qinsight_cli.core.models.vision_attention import batch_windows

        batch_windows(tower)


def _embed_patches(embedding: Any, pixels: Any) -> Any:
    """The patch embedding as a matrix product. transformers' convolution, whose stride is its kernel, is slower."""
    from torch.nn.functional import linear

    weight, bias = embedding.proj.weight, embedding.proj.bias
    return linear(pixels.to(weight.dtype), weight.flatten(1), bias)


def _check_size(folder: Path, config: Any) -> None:
    """Refuse a configuration with absurd sizes before the network is built."""
    waiting, layers = [config.to_dict()], ("num_hidden_layers", "depth")
    while waiting:
        for key, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, int) and value > (MOST_LAYERS if key in layers else LARGEST_SIZE):
                raise QInsightError(f"{folder / 'config.json'}: {key} {value} is no size of a model")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of transformers, which would print names from a file unescaped."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
