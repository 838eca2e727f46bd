"""The local engine against transformers' own generate, and against itself in other batches."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.engines import Completion, Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.tasks import TASKS

SAMPLING = Decoding(max_new_tokens=24, samples=4, temperature=1.0, top_k=50, top_p=0.95)


def ask(image: Image.Image) -> Request:
    return Request(TASKS["score"].messages(("image",)), (image,))


def run(engine: LocalEngine, requests: list[Request], decoding: Decoding) -> list[list[Completion]]:
    return engine.generate(engine.prepare(requests), decoding)


def texts(completions: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in row] for row in completions]


def test_greedy_equals_transformers_generate(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from qinsight_cli.core.engines import generate as loop

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
    assert seen == [tuple(batch.prompts.pixels.shape)]


def test_rows_that_end_early_leave_the_others_alone(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seventh token ends a text: rows leave the batch at all times, and the rest must not notice."""
    from qinsight_cli.core.engines.generate import Endings

    free = run(engine, requests, replace(SAMPLING, samples=3))
    often = set(range(0, len(engine._tokenizer), 7))
    monkeypatch.setattr(engine._writer, "_endings", Endings(frozenset(often), engine._writer._endings.closing))
    ended = run(engine, requests, replace(SAMPLING, samples=3))
    alone = [run(engine, [request], replace(SAMPLING, samples=3))[0] for request in requests]
    assert ended == alone
    lengths = {completion.completion_tokens for row in ended for completion in row}
    assert len(lengths) > 4
    for short, long in zip(ended, free, strict=True):
        for one, other in zip(short, long, strict=True):
            assert other.text.startswith(one.text.rstrip("\N{REPLACEMENT CHARACTER}"))


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
    np.testing.assert_allclose(tokens.prompts.pixels[0], large.prompts.pixels[0], atol=1e-5)
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
