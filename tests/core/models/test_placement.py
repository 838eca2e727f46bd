"""Where weights go, and one line where they cannot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models import loading, memory, placement
from qinsight_cli.core.models.loading import load_model, load_network
from qinsight_cli.core.models.placement import NetworkOptions, attention_of, place, shares, torch_device, torch_dtype

CPU, PLAIN = torch.device("cpu"), NetworkOptions()


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_model, tmp_path / "model"))


def configure(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_one_line(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = memory.weight_bytes(random_model, 4)
    monkeypatch.setattr(placement, "free_bytes", lambda device: needed - 1)
    with pytest.raises(QInsightError, match=r"its weights take 0\.0 GB in float32 and cpu has .* GB free; try --dtype"):
        load_model(str(random_model), "cpu")
    monkeypatch.setattr(placement, "free_bytes", lambda device: needed)
    load_model(str(random_model), "cpu")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_memory_that_runs_out_while_loading_is_the_same_line(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from transformers import AutoModelForImageTextToText

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", fail)
    with pytest.raises(QInsightError, match=r"its weights take .* try --dtype bfloat16, --quantize 4bit") as caught:
        load_model(str(random_model), "cpu")
    assert "\n" not in str(caught.value)


# --- dtypes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "capability", "dtype"),
    [
        ("cpu", None, torch.float32),
        ("mps", None, torch.bfloat16),
        ("cuda", (7, 5), torch.float16),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda", (9, 0), torch.bfloat16),
    ],
)
def test_the_dtype_of_a_device(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: Any, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert torch_dtype("auto", torch.device(device)) == dtype
    assert torch_dtype("float32", torch.device(device)) == torch.float32


# --- several devices -----------------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets how many bytes each of several GPUs and the main memory have free."""

    def have(*free: int, main: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(
            placement, "free_bytes", lambda device: free[device.index or 0] if device.type == "cuda" else main
        )

    return have


def test_one_gpu_takes_all_when_it_can_and_the_freest_is_taken(random_model: Path, gpus: Any) -> None:
    needed = memory.weight_bytes(random_model, 2)
    where = torch.device("cuda")
    gpus(needed - 1, needed + 5, needed)
    assert place("m", random_model, "auto", where, torch.bfloat16, PLAIN).device_map == {"": 1}
    with pytest.raises(QInsightError, match=r"cuda has .* free; try --quantize 4bit .*, --offload, --device cpu"):
        place("m", random_model, "cuda", where, torch.bfloat16, PLAIN)  # the first GPU and no other


def test_several_gpus_share_what_one_cannot_hold(random_model: Path, gpus: Any) -> None:
    needed = memory.weight_bytes(random_model, 2)
    gpus(int(0.7 * needed), int(0.7 * needed))
    found = place("m", random_model, "auto", torch.device("cuda"), torch.bfloat16, PLAIN)
    assert found.device_map == "auto"
    assert found.max_memory == {0: int(0.9 * int(0.7 * needed)), 1: int(0.9 * int(0.7 * needed))}
    gpus(int(0.5 * needed), int(0.5 * needed))
    with pytest.raises(QInsightError, match="its weights take"):
        place("m", random_model, "auto", torch.device("cuda"), torch.bfloat16, PLAIN)


def test_offload_adds_the_main_memory(random_model: Path, gpus: Any) -> None:
    needed = memory.weight_bytes(random_model, 2)
    gpus(needed // 2, main=10 * needed)
    found = place("m", random_model, "cuda", torch.device("cuda"), torch.bfloat16, NetworkOptions(offload=True))
    assert found.max_memory == shares({0: needed // 2}, offload=True)
    assert found.max_memory["cpu"] == 9 * needed
    with pytest.raises(QInsightError, match="no CUDA GPU is used here"):
        place("m", random_model, "cpu", CPU, torch.float32, NetworkOptions(offload=True))


def test_an_automatic_map_cuts_no_layer(random_model: Path) -> None:
    """What transformers makes of two shares: each decoder layer and each block of the vision tower on one device."""
    from accelerate import infer_auto_device_map

    network = load_model(str(random_model), "cpu").network
    sizes = memory.weight_bytes(random_model, 4)
    found = infer_auto_device_map(
        network, {0: int(0.7 * sizes), 1: sizes}, no_split_module_classes=list(network._no_split_modules)
    )
    assert set(found.values()) == {0, 1}
    assert not [name for name in found if ".mlp" in name or ".self_attn" in name or ".attn" in name]


# --- quantised weights ---------------------------------------------------------------------------------------------


def test_quantize_without_its_package_is_one_line(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qinsight_cli.core.extras.is_installed", lambda name: False)
    with pytest.raises(QInsightError, match=r"--quantize 4bit needs bitsandbytes, .* 'qinsight\[quantize\]'"):
        load_model(str(random_model), "cpu", options=NetworkOptions("4bit"))


@pytest.mark.parametrize(("bits", "most"), [("8bit", 0.02), ("4bit", 0.2)])
def test_quantised_weights_are_near_the_whole_ones(
    random_model: Path, bits: str, most: float, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes")
    whole, small = (load_model(str(random_model), "cpu", options=options) for options in (PLAIN, NetworkOptions(bits)))
    assert small.identity["quantize"] == bits
    kinds = {type(module).__name__ for module in small.network.model.language_model.modules()}
    assert kinds & {"Linear4bit", "Linear8bitLt"}
    assert "Linear" in {type(module).__name__ for module in small.network.model.visual.modules()}
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        exact, near = (model.network(input_ids=ids).logits.float() for model in (whole, small))
    assert 0 < (exact - near).norm() / exact.norm() < most
    assert "MatMul8bitLt" not in caplog.text


@pytest.mark.parametrize(("method", "package"), [("awq", "gptqmodel"), ("compressed-tensors", "compressed-tensors")])
def test_a_quantised_folder_without_its_package_is_one_line(folder: Path, method: str, package: str) -> None:
    if placement.is_installed(package.replace("-", "_")):
        pytest.skip(f"{package} is installed")
    configure(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(QInsightError, match=f"quantised by {method}: pip install {package}, or give") as caught:
        load_model(str(folder), "cpu")
    assert "\n" not in str(caught.value)


def test_quantised_twice_and_quantised_for_mlx_are_refused(folder: Path) -> None:
    configure(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(QInsightError, match="quantised already"):
        load_model(str(folder), "cpu", options=NetworkOptions("8bit"))
    configure(folder, quantization_config={}, quantization={"group_size": 64, "bits": 8})
    with pytest.raises(QInsightError, match="quantised for MLX"):
        load_model(str(folder), "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "2bit"}, "--quantize '2bit' is not one of 4bit, 8bit"),
        ({"attention": "fast"}, "--attention 'fast' is not one of"),
        ({"quantize": "8bit", "offload": True}, "cannot go together"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QInsightError, match=message):
        NetworkOptions(**options)


# --- attention -----------------------------------------------------------------------------------------------------


def test_flash_is_taken_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(placement, "flash_is_installed", lambda: False)
    assert attention_of("auto", cuda, torch.bfloat16) == "sdpa"
    with pytest.raises(
        QInsightError, match=r"needs the package flash-attn, .*: pip install flash-attn, or --attention sdpa$"
    ):
        attention_of("flash", cuda, torch.bfloat16)
    monkeypatch.setattr(placement, "flash_is_installed", lambda: True)
    assert attention_of("auto", cuda, torch.bfloat16) == "flash"
    assert attention_of("auto", cuda, torch.float32) == attention_of("auto", CPU, torch.bfloat16) == "sdpa"
    with pytest.raises(QInsightError, match=r"needs a CUDA GPU and --dtype bfloat16 .* elsewhere --attention sdpa"):
        attention_of("flash", CPU, torch.bfloat16)


def test_flash_goes_to_the_vision_tower_and_the_decoder_keeps_its_masks(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForImageTextToText

    asked: dict[str, Any] = {}

    def record(*_: Any, **settings: Any) -> None:
        asked.update(settings)
        raise RuntimeError("enough")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", record)
    with pytest.raises(QInsightError, match="enough"):
        load_network(random_model, torch.bfloat16, loading.ON_CPU, "flash")
    assert asked["attn_implementation"] == {
        "": "sdpa",
        "text_config": "sdpa",
        "vision_config": "flash_attention_2",
    }


# --- photos --------------------------------------------------------------------------------------------------------


def test_a_large_model_gets_photos_of_a_sane_size_and_says_so(tmp_path: Path, random_model: Path) -> None:
    from qinsight_cli.core.training.sft.new_model import build
    from small_networks import SMALL

    shape = replace(SMALL, text_hidden=2048, text_layers=1, text_heads=16, text_intermediate=32, max_pixels=12_845_056)
    build(tmp_path / "wide", ["<think> It is sharp. </think>"], shape, seed=0)
    usual = load_model(str(tmp_path / "wide"), "cpu", max_pixels=None)
    assert usual.identity["max_pixels"] == 1_003_520 == 1280 * 28 * 28
    assert usual.notes == (
        "pictures of more than 1,003,520 pixels are scaled down to that; "
        "--max-pixels 0 for the model's own limit, 12,845,056",
    )
    for asked, limit in ((0, 12_845_056), (2_000_000, 2_000_000)):
        model = load_model(str(tmp_path / "wide"), "cpu", max_pixels=asked)
        assert (model.identity["max_pixels"], model.notes) == (limit, ())
    assert load_model(str(random_model), "cpu", max_pixels=None).notes == ()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_named_as_it_was_asked_for(device: str) -> None:
    with pytest.raises(QInsightError, match=rf"--device {device} cannot be used here: .*; give cpu or auto$") as caught:
        torch_device(device)
    assert len(str(caught.value)) < 160
    assert torch_device("auto") == CPU
