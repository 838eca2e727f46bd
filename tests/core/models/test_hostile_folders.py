"""Model folders that would let something in, run away, or are none: one line each, before a weight is read."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models import processor
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.models.names import locate, other_digests, weight_files
from qinsight_cli.core.models.processor import load_processor


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(random_model, copy)
    return copy


@pytest.mark.parametrize(
    "named",
    ["pytorch_model.bin", "../model.safetensors", "/tmp/model.safetensors", "sub/x.safetensors", 5, ["a"], None],
)
def test_an_index_names_safetensors_beside_it_and_nothing_else(folder: Path, named: Any) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": named}}))
    with pytest.raises(QInsightError, match=r"only safetensors files beside it|cannot be read"):
        weight_files(folder)
    with pytest.raises(QInsightError):
        locate(str(folder))


@pytest.mark.parametrize("content", ["[" * 100_000, "5", '{"weight_map": {}}', '{"weight_map": 5}'])
def test_an_index_that_is_none(folder: Path, content: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(QInsightError):
        weight_files(folder)


def test_an_adapter_is_not_applied_unasked(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(QInsightError, match="not applied unasked"):
        locate(str(folder))


def test_all_that_decides_an_answer_is_in_the_fingerprint(folder: Path) -> None:
    before = other_digests(folder)
    assert {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"} <= before.keys()
    for name in before:
        path = folder / name
        path.write_bytes(path.read_bytes() + b" ")
        changed = {key for key, digest in other_digests(folder).items() if digest != before.get(key)}
        assert name in changed
    (folder / "preprocessor_config.json").write_text("{}")
    assert "preprocessor_config.json" in other_digests(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("chat_template.json", "{}", "its chat template cannot be read"),
        ("chat_template.json", "[" * 100_000, "its chat template cannot be read"),
        ("chat_template.json", '{"chat_template": 5}', "its chat template is not text"),
        ("chat_template.jinja", "{{ 1 / 0 }}", "its chat template cannot be used"),
        ("chat_template.jinja", "{% for", "its chat template cannot be used"),
    ],
)
def test_chat_templates_that_are_none(folder: Path, name: str, content: str, words: str) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / name).write_text(content)
    with pytest.raises(QInsightError, match=words):
        load_processor(folder)


def test_a_chat_template_without_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "TEMPLATE_SECONDS", 0.3)
    loops = "{% for a in range(3000) %}" * 3 + "{% endfor %}" * 3
    (folder / "chat_template.jinja").write_text(loops)
    with pytest.raises(QInsightError, match="does not end within"):
        load_processor(folder)
    for thread in threading.enumerate():
        if thread.name == "qinsight-template":
            thread.join(60)
            assert not thread.is_alive()  # it would take the time of all that follows


@pytest.mark.parametrize(
    ("part", "key", "value"), [("text_config", "num_hidden_layers", 10**7), ("", "vocab_size", 10**15)]
)
def test_absurd_sizes(folder: Path, part: str, key: str, value: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(QInsightError, match=r"is no size of a model|cannot be read"):
        load_model(str(folder), device="cpu")


def test_eos_that_is_no_number(folder: Path) -> None:
    from qinsight_cli.core.engines.local import LocalEngine

    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": {"a": 1}}))
    with pytest.raises(QInsightError, match=r"eos_token_id|cannot be loaded"):
        LocalEngine(load_model(str(folder), device="cpu"))
