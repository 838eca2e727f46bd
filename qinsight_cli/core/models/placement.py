"""Placement of the weights of a model: device, dtype, quantisation, attention."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import is_installed, require
from qinsight_cli.core.models.memory import free_bytes, too_large, weight_bytes
from qinsight_cli.core.models.names import first_line

QUANTIZATIONS = ("4bit", "8bit")
ATTENTIONS = ("auto", "sdpa", "flash")
FILLED = 0.9  # share of the free memory of each GPU for weights that are spread over several
# Modules that are not quantised: image quality depends on the vision tower, and the tokens on lm_head.
KEPT = ("model.visual", "lm_head")
# quant_method of a config.json -> the package that loads such weights: its module, and its name for pip.
QUANTIZERS = {
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "awq": ("gptqmodel", "gptqmodel"),
    "gptq": ("gptqmodel", "gptqmodel"),
    "compressed-tensors": ("compressed_tensors", "compressed-tensors"),
    "hqq": ("hqq", "hqq"),
    "torchao": ("torchao", "torchao"),
    "quanto": ("optimum.quanto", "optimum-quanto"),
    "auto-round": ("auto_round", "auto-round"),
    "aqlm": ("aqlm", "aqlm"),
    "vptq": ("vptq", "vptq"),
    "eetq": ("eetq", "eetq"),
    "quark": ("quark", "amd-quark"),
}


@dataclass(frozen=True)
class NetworkOptions:
    """How a network is held and run, besides device and dtype.

    quantize   "4bit" or "8bit" (bitsandbytes); "" keeps the weights as they are
    attention  of the vision tower: "sdpa", "flash", or "auto": flash if flash-attn is installed and works
    offload    keep in main memory, then on disk, what does not fit on the GPUs
    """

    quantize: str = ""
    attention: str = "auto"
    offload: bool = False

    def __post_init__(self) -> None:
        """Raises QInsightError for an unknown value, or values that exclude each other."""
        if self.quantize not in ("", *QUANTIZATIONS):
            raise QInsightError(f"--quantize {self.quantize!r} is not one of {', '.join(QUANTIZATIONS)}")
        if self.attention not in ATTENTIONS:
            raise QInsightError(f"--attention {self.attention!r} is not one of {', '.join(ATTENTIONS)}")
        if self.quantize and self.offload:
            raise QInsightError("--quantize and --offload cannot go together: quantised weights stay on the GPU")


@dataclass(frozen=True)
class Placement:
    """The arguments of `load_network` for transformers.

    device_map    module -> device, or "auto" within `max_memory` (device -> bytes); None loads on the CPU
    quantization  a configuration of transformers, or None
    moved         whether loading puts the weights in their place, so that they must not be moved again
    failure       the error if memory runs out while loading
    """

    device_map: Any = None
    max_memory: Mapping[Any, int] | None = None
    quantization: Any = None
    moved: bool = False
    failure: QInsightError = field(default_factory=lambda: QInsightError("out of memory while loading the weights"))


def torch_device(device: str) -> Any:
    """auto (cuda, then mps, then cpu), gpu (cuda, or Apple's mps), or anything that torch.device reads -> a
    torch.device that works here."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = device
    if device == "gpu":
        name = "mps" if there["mps"] else "cuda"
    if device == "auto":
        name = next(each for each, usable in there.items() if usable)
    try:
        where = torch.device(name)
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = re.split(r"Expected one of|\. ", first_line(error))[0].strip().rstrip(":.")  # torch goes on for pages
        raise QInsightError(
            f"--device {device} cannot be used here{f': {why}' if why else ''}; give "
            f"{', '.join(each for each, usable in there.items() if usable)} or auto"
        ) from error
    return where


def torch_dtype(dtype: str, device: Any) -> Any:
    """auto: bfloat16 on a GPU, float16 on an NVIDIA GPU before Ampere, float32 on the CPU."""
    import torch

    if dtype == "auto":
        if device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
            return torch.float16  # there bfloat16 is emulated, many times slower
        return torch.bfloat16 if device.type in ("cuda", "mps") else torch.float32
    choices = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in choices:
        raise QInsightError(f"--dtype {dtype!r} is not one of auto, {', '.join(choices)}")
    return choices[dtype]


def place(name: str, folder: Path, device: str, where: Any, dtype: Any, options: NetworkOptions) -> Placement:
    """The placement of the weights of a folder. device: the user's word; where: its torch.device.

    With "auto" and several GPUs, weights go to one GPU if they fit there, else to all. Raises QInsightError for weights
    that do not fit, a missing package, or options that do not suit the folder.
    """
    quantized = check_quantized(folder, options)
    quantization = quantization_config(options.quantize, dtype, where)
    needed = weight_bytes(folder, None if quantized else dtype.itemsize, options.quantize)
    if options.offload and where.type != "cuda":
        raise QInsightError(
            "--offload keeps in main memory what does not fit on a GPU, and no CUDA GPU is used here; leave it out"
        )
    failure = _failure(name, folder, needed, where, dtype, options, quantized)
    if where.type == "cuda":
        return _on_gpus(needed, device, where, options, quantization, failure)
    free = free_bytes(where)
    if free is not None and needed > free:
        raise failure
    whole = {"": str(where)} if quantization is not None or quantized else None
    return Placement(whole, quantization=quantization, moved=whole is not None, failure=failure)


def _on_gpus(
    needed: int, device: str, where: Any, options: NetworkOptions, quantization: Any, failure: QInsightError
) -> Placement:
    import torch

    numbers = range(torch.cuda.device_count()) if device == "auto" else [where.index or 0]
    free = {number: free_bytes(torch.device("cuda", number)) or 0 for number in numbers}
    best = max(free, key=lambda number: (free[number], -number))
    if needed <= free[best]:
        return Placement({"": best}, quantization=quantization, moved=True, failure=failure)
    spread = shares(free, options.offload)
    if sum(spread.values()) < needed:
        raise failure
    return Placement("auto", spread, quantization, moved=True, failure=failure)


def shares(free: Mapping[int, int], offload: bool) -> dict[Any, int]:
    """Free bytes of each GPU -> the bytes that weights may take there, and in main memory with `offload`."""
    import torch

    found: dict[Any, int] = {number: int(count * FILLED) for number, count in free.items()}
    if offload:
        found["cpu"] = int((free_bytes(torch.device("cpu")) or 0) * FILLED)
    return found


def _failure(
    name: str, folder: Path, needed: int, where: Any, dtype: Any, options: NetworkOptions, quantized: bool
) -> QInsightError:
    form = options.quantize or ("their quantised form" if quantized else str(dtype).removeprefix("torch."))
    hints = []
    if not quantized:
        if dtype.itemsize > 2:
            hints.append("--dtype bfloat16")
        if options.quantize != "4bit":
            small = weight_bytes(folder, 2, "4bit") / 1e9
            hints.append(f"--quantize 4bit (about {small:.1f} GB)")
        if where.type == "cuda" and not options.quantize and not options.offload:
            hints.append("--offload")
    hints.append("a smaller model" if where.type == "cpu" else "--device cpu, or a smaller model")
    return too_large(name, needed, form, str(where), free_bytes(where), ", ".join(hints))


def quantization_config(quantize: str, dtype: Any, where: Any) -> Any:
    """`--quantize` -> a configuration of transformers, None for "". Raises QInsightError without bitsandbytes."""
    if not quantize:
        return None
    require("quantize", f"--quantize {quantize}")
    if where.type == "mps":
        raise QInsightError(f"--quantize {quantize} works on CUDA and on the CPU, not on mps")
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a line for every product of matrices on a CPU

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(KEPT))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(KEPT),
    )


def check_quantized(folder: Path, options: NetworkOptions) -> bool:
    """Whether the weights of a folder are quantised already. Raises QInsightError if their package is missing."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        method = config.get("quantization_config", {}).get("quant_method")
        mlx = "quantization" in config and method is None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise QInsightError(f"{folder / 'config.json'} cannot be read: {first_line(error)}") from error
    if mlx:
        raise QInsightError(
            f"{folder} is quantised for MLX, which only Apple's mlx runs; give the weights it came from"
        )
    if method is None:
        return False
    if options.quantize:
        raise QInsightError(f"{folder} is quantised already ({method}); leave out --quantize")
    module, package = QUANTIZERS.get(str(method), ("", ""))
    if module and not is_installed(module):
        raise QInsightError(
            f"{folder} is quantised by {method}: pip install {package}, or give the weights it came from"
        )
    return True


def flash_is_installed() -> bool:
    return is_installed("flash_attn")


def attention_of(wanted: str, where: Any, dtype: Any) -> str:
    """`--attention` -> "sdpa" or "flash". Raises QInsightError if flash cannot run here."""
    possible = where.type == "cuda" and dtype.itemsize == 2
    if wanted == "auto":
        return "flash" if possible and flash_is_installed() else "sdpa"
    if wanted == "flash" and not flash_is_installed():
        raise QInsightError(
            "--attention flash needs the package flash-attn, which is not installed: pip install flash-attn, or "
            "--attention sdpa"
        )
    if wanted == "flash" and not possible:
        raise QInsightError(
            "--attention flash needs a CUDA GPU and --dtype bfloat16 or float16; elsewhere --attention sdpa"
        )
    return wanted
