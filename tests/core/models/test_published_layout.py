"""The layout in which the hub has the 7B model: its configuration, names and ids load, see and write as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from numpy.typing import NDArray
from PIL import Image

import hub_model
from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.tasks import TASKS


@pytest.fixture(scope="module")
def model(published_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The authors' repository as the hub's cache holds it, loaded by its short name without the hub."""
    cache = tmp_path_factory.mktemp("cache")
    hub_model.put_in_cache(cache, "ByteDance/Q-Insight", published_layout, "score_degradation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        return load_model("q-insight", device="cpu")


def test_the_published_configuration_is_read(model: Model) -> None:
    config, tokenizer = model.network.config, model.processor.tokenizer
    assert config.text_config.vocab_size == hub_model.VOCABULARY
    assert config.text_config.rope_parameters["mrope_section"] == [16, 24, 24]
    assert config.image_token_id == 151655
    for number, token in enumerate((*hub_model.SPECIAL, *hub_model.ADDED)):
        assert tokenizer.convert_tokens_to_ids(token) == hub_model.BASE_TOKENS + number
    assert model.identity["max_pixels"] == 12845056
    count = sum(np.prod(shape) for shape in hub_model.shapes().values())
    assert sum(weight.numel() for weight in model.network.parameters()) == count


@pytest.mark.parametrize(("size", "tokens"), [((512, 384), 252), ((1024, 768), 999), ((4000, 3000), 15_301)])
def test_a_picture_takes_as_many_tokens_as_published(
    model: Model, photo: NDArray[np.uint8], size: tuple[int, int], tokens: int
) -> None:
    processor, task = model.processor, TASKS["score"]
    text = processor.apply_chat_template(task.messages(("image",)), add_generation_prompt=True)
    seen = processor(text=[text], images=[Image.fromarray(photo).resize(size)])
    assert seen["input_ids"][0].count(151655) == tokens
    assert int(np.prod(seen["image_grid_thw"][0])) == 4 * tokens


def test_greedy_answers_are_those_of_the_stock_class(model: Model, published_layout: Path, photo: Any) -> None:
    """Of the generation config only the end-of-text tokens count: greedy is greedy, without its repetition penalty."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(published_layout, dtype=torch.float32)
    assert stock.generation_config.repetition_penalty == 1.05
    picture = Image.fromarray(photo)
    request = Request(TASKS["score"].messages(("image",)), (picture,))
    engine = LocalEngine(model)
    ((own,),) = engine.generate(engine.prepare([request]), Decoding(max_new_tokens=24))
    text = model.processor.apply_chat_template(request.messages, add_generation_prompt=True)
    inputs = model.processor(text=[text], images=[picture], return_tensors="pt")
    with torch.inference_mode():
        written = stock.generate(
            **inputs, max_new_tokens=24, do_sample=False, repetition_penalty=1.0, suppress_tokens=engine._banned
        )
    expected = written[0, inputs["input_ids"].shape[1] :].tolist()
    assert len(set(expected)) > 12, "the text should not be one repeated token"
    assert own.text == model.processor.tokenizer.decode(expected, skip_special_tokens=True)


def test_the_command_answers_with_it(published_layout: Path, photo: Any, tmp_path: Path) -> None:
    """Random weights write no answer that can be read: the row says so."""
    from qinsight_cli.cli import run

    Image.fromarray(photo).save(tmp_path / "cat.png")
    arguments = ["score", str(tmp_path / "cat.png"), "--model", str(published_layout), "--device", "cpu"]
    out = tmp_path / "out.jsonl"
    assert run([*arguments, "--max-new-tokens", "16", "--jsonl", str(out)]) == 3
    (row,) = (json.loads(line) for line in out.read_text().splitlines())
    assert row["error"]
