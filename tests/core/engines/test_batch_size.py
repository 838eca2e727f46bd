"""How many requests at a time: the bytes of a 7B model by hand, and those of a real cache; limits of memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines import batch_size as sizes

LARGEST = 200_000


def test_the_cache_of_the_7b_model() -> None:
    """28 layers, 4 key-value heads of 128 numbers, keys and values, two bytes each: 57,344 for a token."""
    config = SimpleNamespace(hidden_size=3584, num_attention_heads=28, num_key_value_heads=4, num_hidden_layers=28)
    assert sizes.cache_bytes(config, 2, 1) == 57_344 == 28 * 4 * 128 * 2 * 2


def test_a_real_cache_is_as_large(engine: Any, requests: list[Request]) -> None:
    import torch

    from qinsight_cli.core.engines.generate import read_prompts

    batch = engine.prepare(requests[:1])
    with torch.inference_mode():
        read = read_prompts(engine._network, batch.prompts)
    held = sum(states.nbytes for layer in read.layers for states in (layer.keys, layer.values))
    assert sizes.cache_bytes(engine._network.config.text_config, 4, batch.lengths[0]) == held


def test_as_many_as_fit(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network, decoding = engine._network, Decoding()
    one = sizes.bytes_of_a_request(network, LARGEST, 1, decoding)
    assert one > sizes.bytes_of_a_request(network, LARGEST // 2, 1, decoding)
    more = Decoding(samples=5, temperature=1.0)
    written = sizes.cache_bytes(network.config.text_config, 4, 1) * decoding.max_new_tokens
    assert sizes.bytes_of_a_request(network, LARGEST, 1, more) - one > 4 * written

    def with_free(count: float | None) -> int:
        monkeypatch.setattr(sizes, "free_bytes", lambda device: count)
        return sizes.requests_at_a_time(network, LARGEST, 1, decoding)

    assert with_free(5.5 * one / sizes.FILLED) == 5
    assert with_free(0) == 1
    assert with_free(1e15) == 32
    assert with_free(None) == 32
    monkeypatch.setattr(sizes, "SMALL", 1000)
    assert with_free(1e15) == 8


def test_an_engine_says_how_many(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "free_bytes", lambda device: 1 << 50)
    assert engine.at_a_time(3, Decoding()) == 32
