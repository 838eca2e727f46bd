"""The memory of weights, the free memory, and freed memory that is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qinsight_cli.core.models import memory
from qinsight_cli.core.models.placement import NetworkOptions

CPU, PLAIN = torch.device("cpu"), NetworkOptions()


def test_bytes_are_those_of_the_loaded_weights(random_model: Path) -> None:
    weights = load_file(random_model / "model.safetensors")
    numbers = sum(weight.numel() for weight in weights.values())
    assert memory.weight_bytes(random_model, 2) == 2 * numbers
    assert memory.weight_bytes(random_model, None) == sum(w.numel() * w.itemsize for w in weights.values())


def test_quantised_bytes_shrink_the_matrices_of_the_decoder_alone(random_model: Path) -> None:
    weights = load_file(random_model / "model.safetensors")
    decoder = sum(w.numel() for name, w in weights.items() if w.ndim == 2 and "layers" in name and "visual" not in name)
    assert decoder > 0
    saved = memory.weight_bytes(random_model, 2) - memory.weight_bytes(random_model, 2, "4bit")
    assert saved == pytest.approx(decoder * (2 - 0.53), abs=1)


def test_free_memory_is_a_plausible_number() -> None:
    free = memory.free_bytes(CPU)
    assert free is None or 1e6 < free < 1e14


FAULTS = """
import ctypes, resource, sys
from qinsight_cli.core.models.memory import keep_freed
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
if not keep_freed():
    sys.exit(77)
size = 40 << 20  # more than glibc would ever keep of itself

def layers():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(size) for _ in range(3)]
    for block in blocks:
        libc.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

layers()
print(max(layers() for _ in range(4)))
"""


def test_large_blocks_are_kept_for_the_next_layer() -> None:
    """Once there, the pages of 120 MB (30,000 of 4 kB) are not asked for again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("no glibc")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300
