"""A network over several places, and memory that runs out while it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.models.loading import Model, load_model, load_network
from qinsight_cli.core.models.placement import Placement


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
