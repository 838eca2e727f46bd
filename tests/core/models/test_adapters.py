"""Adapters given as models: peft's own output, the base that is named, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.models.names import locate

peft = pytest.importorskip("peft")


@pytest.fixture
def adapter(random_model: Path, tmp_path: Path) -> tuple[Path, Any]:
    """An adapter folder as peft saves it, with random weights, and the model that it belongs to, on top of its base."""
    import torch

    network = load_model(str(random_model), "cpu").network
    targets = r"model\.language_model\..*\.(q_proj|down_proj)"
    adapted = peft.get_peft_model(network, peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets))
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.peft_config["default"].base_model_name_or_path = str(random_model)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", adapted.eval()


def change(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_an_adapter_answers_as_peft_s_model_does(adapter: tuple[Path, Any], random_model: Path) -> None:
    import torch

    folder, adapted = adapter
    ids = torch.arange(20)[None]
    model, base = load_model(str(folder), "cpu"), load_model(str(random_model), "cpu")
    with torch.inference_mode():
        ours, expected, before = (each(input_ids=ids).logits for each in (model.network, adapted, base.network))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert (ours - before).abs().max() > 0.01
    assert model.identity["weights"] != base.identity["weights"]
    assert model.identity["model"] == str(folder)


def test_names_of_an_older_transformers_are_read(adapter: tuple[Path, Any], random_model: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder, _ = adapter
    expected = load_model(str(folder), "cpu").network.state_dict()
    path = folder / "adapter_model.safetensors"
    save_file({name.replace("language_model.", ""): value for name, value in load_file(path).items()}, path)
    found = load_model(str(folder), "cpu").network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_base_that_is_not_here_is_named(adapter: tuple[Path, Any]) -> None:
    folder, _ = adapter
    change(folder, base_model_name_or_path="/elsewhere/Qwen")
    with pytest.raises(QInsightError, match=r"is an adapter of /elsewhere/Qwen, and that was not found: no model"):
        load_model(str(folder), "cpu")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"use_dora": True}, "only plain LoRA adapters are read, not use_dora"),
        ({"peft_type": "LOHA"}, "only plain LoRA adapters are read, not LOHA"),
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"r": "three"}, "cannot be read: TypeError"),
    ],
)
def test_other_adapters_are_refused_in_one_line(adapter: tuple[Path, Any], values: Any, says: str) -> None:
    folder, _ = adapter
    change(folder, **values)
    with pytest.raises(QInsightError, match=says) as caught:
        load_model(str(folder), "cpu")
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_model_is_refused(adapter: tuple[Path, Any]) -> None:
    from safetensors.torch import load_file, save_file

    folder, _ = adapter
    path = folder / "adapter_model.safetensors"
    save_file({name: value[:, :-1].contiguous() for name, value in load_file(path).items()}, path)
    with pytest.raises(QInsightError, match="does not fit"):
        load_model(str(folder), "cpu")


def test_training_needs_whole_weights(adapter: tuple[Path, Any]) -> None:
    with pytest.raises(QInsightError, match="holds an adapter, and this needs whole weights"):
        locate(str(adapter[0]))
