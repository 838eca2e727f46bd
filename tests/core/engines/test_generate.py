"""The decoding loop: what is drawn, and where a completion ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qinsight_cli.core.engines import Completion, Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine


def test_sampling_follows_the_distribution() -> None:
    """First tokens of many seeds against the probabilities of an independent softmax over the top-k logits."""
    import torch

    from qinsight_cli.core.engines.sampling import Chooser, uniforms

    logits = torch.tensor([[2.0, 0.5, -1.0, 1.0, 9.0, 0.0]])
    decoding = Decoding(temperature=0.7, top_k=3)
    draws = uniforms(range(20_000), 1, 1)
    chosen = Chooser(decoding, draws, torch.tensor([4]))(logits.repeat(20_000, 1), 0)
    found = torch.bincount(chosen, minlength=6) / 20_000
    weights = np.exp(np.array([2.0, 0.5, 0, 1.0, 0, 0]) / 0.7) * np.array([1, 1, 0, 1, 0, 0])
    np.testing.assert_allclose(found.numpy(), weights / weights.sum(), atol=0.012)


def test_prefill_gives_each_prompt_what_it_gets_alone_in_every_copy(
    engine: LocalEngine, requests: list[Request]
) -> None:
    """Against a plain forward pass over each prompt without padding, cache and logits."""
    import torch

    from qinsight_cli.core.engines.generate import prefill

    batch, network = engine.prepare(requests[:3]), engine._network
    with torch.inference_mode():
        start = prefill(network, batch.prompts, copies=2, room=5)
        width = batch.prompts.input_ids.shape[1]
        assert start.mask.shape == (6, 1, 1, width + 5)
        for index, request in enumerate(requests[:3]):
            text = engine._processor.apply_chat_template(request.messages, add_generation_prompt=True)
            inputs = engine._processor(text=[text], images=list(request.images), return_tensors="pt")
            plain = network(**inputs, use_cache=True)
            length = batch.lengths[index]
            for row in (2 * index, 2 * index + 1):
                torch.testing.assert_close(start.logits[row], plain.logits[0, -1], rtol=1e-4, atol=1e-4)
                assert start.mask[row, 0, 0].tolist() == [False] * (width - length) + [True] * (length + 5)
                for ours, theirs in zip(start.layers, plain.past_key_values.layers, strict=True):
                    torch.testing.assert_close(
                        ours.keys[row, :, width - length :], theirs.keys[0], rtol=1e-4, atol=1e-4
                    )
            assert start.position[2 * index] == length + network.model.rope_deltas[0, 0]


class Scripted:
    """Stands in for the network's choice: one row of the given tokens, whatever the logits say."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens

    def keep(self, rows: Any) -> None:
        raise AssertionError("a single row never leaves the batch")

    def __call__(self, logits: Any, step: int) -> Any:
        return logits.argmax(dim=1).fill_(self.tokens[step])


def write(engine: LocalEngine, request: Request, tokens: list[int], monkeypatch: pytest.MonkeyPatch) -> Completion:
    """The completion when the model chooses exactly these tokens."""
    from qinsight_cli.core.engines import sampling

    monkeypatch.setattr(sampling, "Chooser", lambda *_: Scripted(tokens))
    [[completion]] = engine.generate(engine.prepare([request]), Decoding(max_new_tokens=len(tokens)))
    return completion


def spell(engine: LocalEngine, *pieces: str) -> list[int]:
    """Token ids of these pieces of text, each of which must be one token."""
    ids = [engine._tokenizer.convert_tokens_to_ids(piece) for piece in pieces]
    assert None not in ids
    return ids


@pytest.mark.parametrize(
    "pieces",
    [
        (" </answer>",),
        ("</answer>",),
        ("<", "/", "a", "n", "s", "w", "e", "r", ">"),
        ("x", "<", "/", "a", "n", "s", "w", "<|im_start|>", "e", "r", ">"),
    ],
)
def test_stops_at_the_end_of_the_answer(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch, pieces: tuple[str, ...]
) -> None:
    tokens = spell(engine, "a", ">", *pieces, "b", "c")
    completion = write(engine, requests[0], tokens, monkeypatch)
    assert completion.text.endswith("</answer>")
    assert completion.text.startswith("a>")
    assert (completion.finish_reason, completion.completion_tokens) == ("stop", len(tokens) - 2)


def test_text_after_the_answer_in_the_same_token_is_cut(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = spell(engine, " </answer>")[0]
    real = engine._tokenizer.decode
    monkeypatch.setattr(
        engine._tokenizer, "decode", lambda ids, **settings: real(ids, **settings) + ("!\n" if whole in ids else "")
    )
    completion = write(engine, requests[0], [*spell(engine, "a"), whole, *spell(engine, "b")], monkeypatch)
    assert (completion.text, completion.finish_reason) == ("a </answer>", "stop")


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_stops_at_the_end_of_text(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    completion = write(engine, requests[0], spell(engine, "a", "b", end, "c"), monkeypatch)
    assert completion == Completion("ab", completion.prompt_tokens, 2, "stop")


def test_stops_at_the_token_limit(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    completion = write(engine, requests[0], spell(engine, "a", "b", "<", "/"), monkeypatch)
    assert completion == Completion("ab</", completion.prompt_tokens, 4, "length")


@pytest.mark.parametrize(("configured", "expected"), [(5, {5}), ([5, 6], {5, 6}), (None, set())])
def test_end_of_text_tokens_may_be_one_several_or_none(engine: LocalEngine, configured: Any, expected: set) -> None:
    from types import SimpleNamespace

    from qinsight_cli.core.engines.generate import Endings

    network = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
    ends = Endings.of(network, engine._tokenizer, 2000)
    assert ends.eos == expected | {engine._tokenizer.eos_token_id}


def test_picture_tokens_are_never_written(engine: LocalEngine) -> None:
    import torch

    from qinsight_cli.core.engines.sampling import Chooser

    names = [engine._tokenizer.convert_ids_to_tokens(number) for number in engine._banned]
    assert set(names) == {
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    }  # fmt: skip
    logits = torch.zeros(1, len(engine._tokenizer))
    logits[:, engine._banned] = 100.0
    chosen = Chooser(Decoding(), None, torch.tensor(engine._banned))(logits, 0)
    assert int(chosen) not in engine._banned
