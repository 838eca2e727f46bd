"""The local engine against transformers' own generate, and against itself in other batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core.engines import Completion, Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.tasks import TASKS

Photos = Callable[[str], NDArray[np.uint8]]
SAMPLING = Decoding(max_new_tokens=24, samples=4, temperature=1.0, top_k=50, top_p=0.95)


@pytest.fixture(scope="module")
def engine(random_model: Path) -> LocalEngine:
    import torch

    torch.set_num_threads(1)
    engine = load_engine(str(random_model), device="cpu")
    with torch.no_grad():  # fresh weights write the same token for ever: larger ones make the text depend on everything
        for name, weight in engine._network.named_parameters():
            if weight.ndim > 1 and "embed_tokens" not in name:
                weight.mul_(6.0)
    return engine


def ask(*images: Image.Image, seed: int = 0) -> Request:
    if len(images) == 1:
        return Request(TASKS["score"].messages(("image",)), images, seed)
    return Request(TASKS["comparison"].messages(("reference", "image_a", "image_b")), images, seed)


@pytest.fixture(scope="module")
def requests(photos: Photos) -> list[Request]:
    """Eight requests of one or three pictures in many sizes."""
    pictures = [Image.fromarray(photos(name)) for name in ("chelsea", "coffee", "rocket", "astronaut")]
    cat, coffee, rocket, face = pictures
    return [
        ask(cat, seed=11),
        ask(coffee.crop((0, 0, 60, 400)), coffee, cat.resize((50, 50)), seed=12),
        ask(rocket.crop((100, 0, 180, 60)), seed=13),
        ask(face, seed=14),
        ask(cat.rotate(90, expand=True), seed=15),
        ask(face.resize((64, 200)), rocket, face, seed=16),
        ask(coffee.resize((33, 77)), seed=17),
        ask(rocket.resize((640, 90)), seed=18),
    ]


def run(engine: LocalEngine, requests: list[Request], decoding: Decoding) -> list[list[Completion]]:
    return engine.generate(engine.prepare(requests), decoding)


def texts(completions: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in row] for row in completions]


def test_greedy_equals_transformers_generate(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from qinsight_cli.core.engines import decode as loop

    captured: list[Any] = []

    def spy(*arguments: Any) -> Any:
        captured.extend(loop_decode(*arguments))
        return captured

    loop_decode = loop.decode
    monkeypatch.setattr(loop, "decode", spy)
    run(engine, requests, Decoding(max_new_tokens=48))
    processor, network = engine._processor, engine._network
    inputs = processor(
        text=[processor.apply_chat_template(r.messages, add_generation_prompt=True) for r in requests],
        images=[list(r.images) for r in requests],
        padding=True,
        return_tensors="pt",
    )
    monkeypatch.delattr(network.model.visual.patch_embed, "forward")  # transformers' own again
    assert len(set(inputs["attention_mask"].sum(dim=1).tolist())) > 3, "the prompts should differ in length"
    with torch.inference_mode():
        expected = network.generate(**inputs, max_new_tokens=48, do_sample=False, suppress_tokens=engine._banned)
    expected = expected[:, inputs["input_ids"].shape[1] :].tolist()
    assert len({tuple(row) for row in expected}) == len(requests), "every request should get its own text"
    assert sum(len(set(row)) for row in expected) > 80, "the texts should not be one repeated token"
    for row, reference in zip(captured, expected, strict=True):
        assert row.tokens == reference[: len(row.tokens)]
        if row.finish_reason == "length":
            assert len(row.tokens) == 48


def test_greedy_is_the_same_alone_and_in_a_batch(engine: LocalEngine, requests: list[Request]) -> None:
    together = run(engine, requests, Decoding(max_new_tokens=32))
    alone = [run(engine, [request], Decoding(max_new_tokens=32))[0] for request in requests]
    backwards = run(engine, requests[::-1], Decoding(max_new_tokens=32))[::-1]
    assert together == alone == backwards


def test_samples_depend_on_seed_and_index_alone(engine: LocalEngine, requests: list[Request]) -> None:
    together = run(engine, requests, SAMPLING)
    alone = [run(engine, [request], SAMPLING)[0] for request in requests]
    assert together == alone
    fewer = run(engine, requests[3:6], replace(SAMPLING, samples=2))
    assert fewer == [row[:2] for row in together[3:6]]
    longer = run(engine, requests[:1], replace(SAMPLING, max_new_tokens=40))
    for short, long in zip(together[0], longer[0], strict=True):
        assert long.text.startswith(short.text.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_samples_differ_between_seeds_and_indices(engine: LocalEngine, requests: list[Request]) -> None:
    first, second = run(engine, [requests[0], replace(requests[0], seed=99)], SAMPLING)
    assert len({completion.text for completion in first + second}) == 8


def test_sampling_follows_the_distribution(engine: LocalEngine, requests: list[Request]) -> None:
    """First tokens of many seeds against the probabilities of an independent softmax over the top-k logits."""
    import torch

    from qinsight_cli.core.engines.decode import Chooser, uniforms

    logits = torch.tensor([[2.0, 0.5, -1.0, 1.0, 9.0, 0.0]])
    decoding = Decoding(temperature=0.7, top_k=3)
    draws = uniforms(range(20_000), 1, 1)
    chosen = Chooser(decoding, draws, torch.tensor([4]))(logits.repeat(20_000, 1), 0)
    found = torch.bincount(chosen, minlength=6) / 20_000
    weights = np.exp(np.array([2.0, 0.5, 0, 1.0, 0, 0]) / 0.7) * np.array([1, 1, 0, 1, 0, 0])
    np.testing.assert_allclose(found.numpy(), weights / weights.sum(), atol=0.012)


def test_greedy_samples_are_copies(engine: LocalEngine, requests: list[Request]) -> None:
    [row] = run(engine, requests[:1], Decoding(max_new_tokens=8, samples=3))
    assert len(row) == 3
    assert len(set(row)) == 1


def test_prompt_and_pictures_are_computed_once(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    visual = engine._network.model.visual
    real = visual.forward

    def count(pixels: Any, **settings: Any) -> Any:
        seen.append(tuple(pixels.shape))
        return real(pixels, **settings)

    monkeypatch.setattr(visual, "forward", count)
    batch = engine.prepare(requests[:2])
    engine.generate(batch, replace(SAMPLING, samples=8))
    assert seen == [tuple(batch.pixels.shape)]


class Scripted:
    """Stands in for the network's choice: one row of the given tokens, whatever the logits say."""

    uniforms = None

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens

    def __call__(self, logits: Any, step: int) -> Any:
        return logits.argmax(dim=1).fill_(self.tokens[step])


def write(engine: LocalEngine, request: Request, tokens: list[int], monkeypatch: pytest.MonkeyPatch) -> Completion:
    """The completion when the model chooses exactly these tokens."""
    from qinsight_cli.core.engines import decode as loop

    monkeypatch.setattr(loop, "Chooser", lambda *_: Scripted(tokens))
    [[completion]] = run(engine, [request], Decoding(max_new_tokens=len(tokens)))
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

    from qinsight_cli.core.engines.decode import Endings

    network = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
    ends = Endings.of(network, engine._tokenizer, 2000)
    assert ends.eos == expected | {engine._tokenizer.eos_token_id}


def test_rows_that_end_early_leave_the_others_alone(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seventh token ends a text: rows leave the batch at all times, and the rest must not notice."""
    from qinsight_cli.core.engines.decode import Endings

    free = run(engine, requests, replace(SAMPLING, samples=3))
    often = set(range(0, len(engine._tokenizer), 7))
    monkeypatch.setattr(engine, "_endings", Endings(frozenset(often), engine._endings.closing))
    ended = run(engine, requests, replace(SAMPLING, samples=3))
    alone = [run(engine, [request], replace(SAMPLING, samples=3))[0] for request in requests]
    assert ended == alone
    lengths = {completion.completion_tokens for row in ended for completion in row}
    assert len(lengths) > 4
    for short, long in zip(ended, free, strict=True):
        for one, other in zip(short, long, strict=True):
            assert other.text.startswith(one.text.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_picture_tokens_are_never_written(engine: LocalEngine, requests: list[Request]) -> None:
    import torch

    from qinsight_cli.core.engines.decode import Chooser

    names = [engine._tokenizer.convert_ids_to_tokens(number) for number in engine._banned]
    assert set(names) == {
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    }  # fmt: skip
    logits = torch.zeros(1, len(engine._tokenizer))
    logits[:, engine._banned] = 100.0
    chosen = Chooser(Decoding(), None, torch.tensor(engine._banned))(logits, 0)
    assert int(chosen) not in engine._banned


def test_prompt_tokens_count_no_padding(engine: LocalEngine, requests: list[Request]) -> None:
    together = run(engine, requests, Decoding(max_new_tokens=1))
    alone = [run(engine, [request], Decoding(max_new_tokens=1))[0] for request in requests]
    assert [row[0].prompt_tokens for row in together] == [row[0].prompt_tokens for row in alone]


def test_prepare_beside_generate(engine: LocalEngine, requests: list[Request]) -> None:
    """Two threads prepare and the tokenizer pads and decodes while a third generates: nothing may change or raise."""
    expected = texts(run(engine, requests, SAMPLING))
    lengths = engine.prepare(requests).lengths
    failures: list[BaseException] = []
    done = threading.Event()

    def keep_preparing() -> None:
        try:
            while not done.is_set():
                assert engine.prepare(requests).lengths == lengths
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=keep_preparing) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert texts(run(engine, requests, SAMPLING)) == expected
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_prompt_longer_than_the_context_names_the_way_out(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_context", 12)
    with pytest.raises(QInsightError, match="--max-pixels"):
        engine.prepare(requests[:1])


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (5, 3), (3, 3), (1, 199), (2, 400)])
def test_tiny_pictures_are_read_as_colour(engine: LocalEngine, size: tuple[int, int]) -> None:
    """Sizes of 1 and 3 pixels look like channel counts: a plain colour must stay that colour."""
    tokens = engine.prepare([ask(Image.new("RGB", size, (250, 10, 10)))])
    large = engine.prepare([ask(Image.new("RGB", (128, 128), (250, 10, 10)))])
    np.testing.assert_allclose(tokens.pixels[0], large.pixels[0], atol=1e-5)
    assert run(engine, [ask(Image.new("RGB", size))], Decoding(max_new_tokens=2))


def test_a_strip_is_an_image_error(engine: LocalEngine) -> None:
    with pytest.raises(ImageError, match="200 times"):
        engine.prepare([ask(Image.new("RGB", (1, 201)))])


def test_max_pixels_means_fewer_tokens(random_model: Path, requests: list[Request]) -> None:
    small = load_engine(str(random_model), device="cpu", max_pixels=64 * 64)
    assert small.identity["max_pixels"] == 64 * 64
    assert small.prepare(requests[:1]).lengths < load_engine(str(random_model)).prepare(requests[:1]).lengths


def test_other_precisions_write_something(random_model: Path, requests: list[Request]) -> None:
    half = load_engine(str(random_model), device="cpu", dtype="bfloat16")
    assert half.identity["dtype"] == "bfloat16"
    assert len(run(half, requests[:2], SAMPLING)[1]) == 4


def test_running_out_of_memory_stays_an_out_of_memory_error(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    batch = engine.prepare(requests[:1])
    monkeypatch.setattr(engine._network, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        engine.generate(batch, Decoding())
