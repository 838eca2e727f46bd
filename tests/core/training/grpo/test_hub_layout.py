"""A run from a folder in the hub's layout leaves one in the hub's layout, which stock transformers reads.

With QINSIGHT_STOCK_PYTHON naming an interpreter that has transformers 4.51.3, the release that the authors used, the
folder is read by it too.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hub_model
import stock_transformers
from qinsight_cli.core.models.loading import load_model

TEXT = "Rate it."
PIXELS = 28_224  # 36 tokens


@pytest.fixture(scope="module")
def final(published_layout: Path, small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from qinsight_cli.cli import run

    out = tmp_path_factory.mktemp("hub") / "run"
    arguments = ["train", "--tasks", "score", "--data", str(small_dataset), "--model", str(published_layout)]
    arguments += ["--batch", "2", "--num-generations", "2", "--per-device-batch", "2", "--max-steps", "1"]
    arguments += ["--max-completion-tokens", "64", "--max-pixels", str(PIXELS), "--out", str(out)]
    assert run([*arguments, "--set", "weights={}", "--final-dtype", "bfloat16"]) == 0
    return out / "final"


def test_names_dtypes_and_files_are_the_hub_s(final: Path, published_layout: Path) -> None:
    weights: dict[str, torch.Tensor] = {}
    for path in final.glob("*.safetensors"):
        weights |= load_file(path)
    assert {name: tuple(value.shape) for name, value in weights.items()} == hub_model.shapes()
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    assert json.loads((final / "config.json").read_text()) == json.loads((published_layout / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.json"):
        assert (final / name).read_bytes() == (published_layout / name).read_bytes()
    preprocessor = json.loads((final / "preprocessor_config.json").read_text())
    assert preprocessor == {**hub_model.PREPROCESSOR, "max_pixels": PIXELS}


def test_the_release_of_the_authors_reads_it(final: Path, tmp_path: Path, photos: Callable[[str], Any]) -> None:
    """Ids, pixels and greedy tokens are ours, and the logits within rounding."""
    python = os.environ.get("QINSIGHT_STOCK_PYTHON")
    if not python:
        pytest.skip("QINSIGHT_STOCK_PYTHON names no interpreter with transformers 4.51")
    picture, out = tmp_path / "cat.png", tmp_path / "out.npz"
    Image.fromarray(photos("chelsea")).resize((128, 192)).save(picture)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [python, stock_transformers.__file__, str(final), str(picture), TEXT, str(out)]
    subprocess.run(arguments, env=environment, check=True, timeout=600)
    stock = np.load(out)
    assert str(stock["version"]).startswith("4.51.")
    model = load_model(str(final), "cpu", dtype="float32")
    content = [{"type": "image"}, {"type": "text", "text": TEXT}]
    text = model.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = model.processor(text=[text], images=[Image.open(picture)], return_tensors="pt")
    np.testing.assert_array_equal(inputs["input_ids"], stock["ids"])
    np.testing.assert_array_equal(inputs["pixel_values"], stock["pixels"])
    with torch.inference_mode():
        logits = model.network(**inputs).logits
        written = model.network.generate(
            **inputs, max_new_tokens=stock_transformers.WORDS, do_sample=False, repetition_penalty=1.0
        )
    np.testing.assert_allclose(logits, stock["logits"], atol=2e-3)
    np.testing.assert_array_equal(written[:, inputs["input_ids"].shape[1] :], stock["written"])
