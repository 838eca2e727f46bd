"""A network over several places, and memory that runs out while it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.engines import Decoding, Request, cache
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import Model, load_model, load_network
from qinsight_cli.core.models.placement import Placement
from qinsight_cli.core.tasks import TASKS

CHOICES = TASKS["score"].choices


@pytest.mark.parametrize("away", ["model.language_model.layers.1", "model.visual"])
def test_answers_are_the_same_with_weights_elsewhere(
    random_model: Path, requests: Sequence[Request], tmp_path: Path, away: str
) -> None:
    """Weights on disk come when their layer runs, through the same hooks that offload from a GPU."""
    whole = load_model(str(random_model), "cpu")
    names = ["model.visual", *(f"model.language_model.{part}" for part in ("embed_tokens", "norm", "rotary_emb"))]
    names += ["lm_head", *(f"model.language_model.layers.{number}" for number in (0, 1))]
    placed = Placement({name: "disk" if name == away else "cpu" for name in names}, moved=True)
    network = load_network(random_model, torch.float32, placed, offload_folder=str(tmp_path)).eval()
    assert any(weight.is_meta for weight in network.parameters())
    decoding, texts = Decoding(max_new_tokens=12, samples=3, temperature=1.0), []
    for model in (whole, Model(network, whole.processor, whole.identity)):
        engine = LocalEngine(model)
        texts.append([[c.text for c in row] for row in engine.generate(engine.prepare(requests[:3]), decoding)])
    assert texts[0] == texts[1]


class Tight:
    """A network that has memory for so many rows at a time: with more it fails once it has a prompt behind it."""

    def __init__(self, network: Any, rows: int) -> None:
        self._network, self._rows, self.most, self.prompts = network, rows, 0, 0

    def __call__(self, **inputs: Any) -> Any:
        if "pixel_values" in inputs:
            self.prompts += 1
        elif len(inputs["input_ids"]) > self._rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        else:
            self.most = max(self.most, len(inputs["input_ids"]))
        return self._network(**inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def texts_of(engine: LocalEngine, requests: Sequence[Request], decoding: Decoding) -> list[list[str]]:
    return [[c.text for c in row] for row in engine.generate(engine.prepare(requests), decoding)]


@pytest.mark.parametrize("choices", [False, True])
def test_samples_are_drawn_in_parts_that_fit(random_model: Path, requests: Sequence[Request], choices: bool) -> None:
    model = load_model(str(random_model), "cpu")
    asked = [replace(request, choices=CHOICES if choices else None) for request in requests[::2]][:2]
    decoding = Decoding(max_new_tokens=12, samples=7, temperature=1.0)
    whole = texts_of(LocalEngine(model), asked, decoding)
    assert len({text for row in whole for text in row}) > 7
    tight = Tight(model.network, 5)
    engine = LocalEngine(replace(model, network=tight))
    assert texts_of(engine, asked, decoding) == whole
    assert tight.most <= 5
    assert tight.prompts == 1  # read once, whatever was tried after
    assert texts_of(engine, asked, decoding) == whole  # the second batch knows how many fit


def test_greedy_rows_that_do_not_fit_are_an_error_of_memory(random_model: Path, requests: Sequence[Request]) -> None:
    model = load_model(str(random_model), "cpu")
    engine = LocalEngine(replace(model, network=Tight(model.network, 1)))
    with pytest.raises(torch.OutOfMemoryError):
        texts_of(engine, requests[:2], Decoding(max_new_tokens=5))


def test_free_memory_decides_the_first_part(
    random_model: Path, requests: Sequence[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(str(random_model), "cpu")
    text = model.network.config.text_config
    engine = LocalEngine(model)
    batch = engine.prepare(requests[:1])
    decoding = Decoding(max_new_tokens=12, samples=6, temperature=1.0)
    numbers = 2 * text.num_key_value_heads * (text.hidden_size // text.num_attention_heads) * text.num_hidden_layers
    copy = numbers * 4 * (batch.lengths[0] + 12)
    whole = [c.text for c in engine.generate(batch, decoding)[0]]
    monkeypatch.setattr(cache, "free_bytes", lambda device: int(2.5 * copy / cache.FILLED))
    tight = Tight(model.network, 100)
    assert texts_of(LocalEngine(replace(model, network=tight)), requests[:1], decoding) == [whole]
    assert tight.most == 2


def test_numbers_that_overflow_are_one_line(random_model: Path, requests: Sequence[Request]) -> None:
    model = load_model(str(random_model), "cpu")
    with torch.no_grad():
        model.network.lm_head.weight.fill_(torch.inf)
    with pytest.raises(QInsightError, match="overflow in float32"):
        texts_of(LocalEngine(model), requests[:1], Decoding(max_new_tokens=5))
