"""The memory that weights need, the memory that a device has free, and the error if the weights do not fit."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import first_line, weight_files

GB = 1e9
KEPT = 1 << 26  # bytes of the largest block that `keep_freed` keeps; it keeps 4 times as much in total
_TRIM, _MMAP = -1, -3  # numbers of glibc's mallopt
# Bytes of a weight after quantisation, with its scales.
QUANTIZED_BYTES = {"4bit": 0.53, "8bit": 1.01}


def weight_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """(name, shape, bits of a number) of each weight, from the headers of the safetensors files of a model folder.

    Raises QInsightError for a file that is cut off or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder):
        try:
            with safe_open(path, framework="np") as held:
                parts = [(name, held.get_slice(name)) for name in held.keys()]  # noqa: SIM118  (it is no dictionary)
                found = [(name, tuple(part.get_shape()), _bits(part.get_dtype())) for name, part in parts]
        except (OSError, SafetensorError) as error:
            raise QInsightError(
                f"{folder}: the weights cannot be loaded: {path.name} is not a complete safetensors file"
            ) from error
        yield from found


def _bits(dtype: str) -> int:
    """The size of a type by its name in safetensors: 16 for BF16, 8 for F8_E4M3 and BOOL."""
    digits = re.search(r"[0-9]+", dtype)
    return int(digits[0]) if digits else 8


def weight_bytes(folder: Path, itemsize: int | None, quantize: str = "") -> int:
    """The bytes that the weights of a model folder take in memory.

    itemsize  bytes of a number once loaded; None keeps those of the file, for weights that are quantised already
    quantize  "4bit" or "8bit": the matrices of the decoder's layers are quantised
    """
    total = 0.0
    for name, shape, bits in weight_shapes(folder):
        if itemsize is None:
            total += prod(shape) * bits / 8
        elif quantize and len(shape) == 2 and ".layers." in name and "visual" not in name:
            total += prod(shape) * QUANTIZED_BYTES[quantize]
        else:
            total += prod(shape) * itemsize
    return round(total)


def free_bytes(device: Any) -> int | None:
    """Free memory of a torch.device for this process, None if unknown."""
    import torch

    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return _free_main_memory()


def _free_main_memory() -> int | None:
    """Available memory of Linux with swap, within the limit of the process's control group."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        found.append(table["MemAvailable"] + table["SwapFree"])
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max", which means no limit, is no number
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()) + _cached())
    return min(found, default=None)


def _cached() -> int:
    """Bytes of cached files in the control group, which it can free."""
    for path in ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"):
        with suppress(OSError, ValueError):
            table = dict(line.split() for line in Path(path).read_text().splitlines())
            return int(table.get("inactive_file", 0)) + int(table.get("active_file", 0))
    return 0


def keep_freed() -> bool:
    """Let glibc keep freed memory for the next layer of a network on the CPU. Returns False without glibc.

    By default glibc returns every large block to the system, which clears each page before the next use. That takes up
    to a third of the time of the embedded model for a picture.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP, KEPT) and mallopt(_TRIM, 4 * KEPT))
    except (OSError, AttributeError, TypeError):  # another C library, or Windows
        return False


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. Needs no torch, whose error is a RuntimeError."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def release() -> None:
    """Return memory that no tensor uses to the device."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def too_large(name: str, needed: int, what: str, device: str, free: int | None, hints: str) -> QInsightError:
    """The error for weights that do not fit: their size, the free memory, and what to try."""
    room = "" if free is None else f" and {device} has {free / GB:.1f} GB free"
    return QInsightError(f"{name}: its weights take {needed / GB:.1f} GB in {what}{room}; try {hints}")


@contextmanager
def one_line(failure: QInsightError, folder: Path) -> Iterator[None]:
    """For the loading of weights: raise `failure` if memory runs out, and one line for any other error."""
    try:
        yield
    except QInsightError:
        raise
    except Exception as error:  # transformers raises almost anything on invalid files
        if out_of_memory(error):
            raise failure from error
        raise QInsightError(f"{folder}: the weights cannot be loaded: {first_line(error)}") from error
