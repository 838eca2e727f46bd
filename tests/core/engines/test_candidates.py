"""Probabilities of candidates against plain forward passes over whole texts, without cache, tree or mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, load_engine
from qinsight_cli.core.models.loading import Model
from qinsight_cli.core.models.processor import make_processor
from qinsight_cli.core.tasks import TASKS, Task

DIRECT = Decoding(mode="direct")
RATINGS = [f"{tenths / 10:.1f}" for tenths in range(10, 51)]


def ask(task: Task, request: Request, direct: bool) -> Request:
    roles = (*task.optional, *task.roles)[-len(request.images) :]
    return Request(task.messages(roles), request.images, request.seed, task.choices, direct)


def next_token(engine: LocalEngine, request: Request, written: Sequence[int]) -> Any:
    """Probabilities of the token after these, float64 (vocabulary,)."""
    import torch

    processor, network = engine._processor, engine._network
    prompt = processor.apply_chat_template(request.messages, add_generation_prompt=True)
    inputs = processor(text=[prompt], images=list(request.images), return_tensors="pt")
    ids = torch.cat([inputs["input_ids"], torch.tensor([list(written)], dtype=torch.long)], dim=1)
    with torch.inference_mode():
        logits = network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == network.config.image_token_id).int(),
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
            use_cache=False,
        ).logits[0, -1]
    return logits.double().softmax(0)


@cache
def spelled(engine: LocalEngine) -> list[tuple[int, str]]:
    tokenizer, size = engine._tokenizer, engine._network.config.text_config.vocab_size
    numbers = [n for n in range(min(size, len(tokenizer))) if n not in tokenizer.all_special_ids]
    return [(number, tokenizer.decode([number])) for number in numbers]


def in_every_spelling(engine: LocalEngine, request: Request, written: Sequence[int], text: str, seen: Any) -> float:
    """The probability that what follows `written` begins with `text`, however tokens spell it."""
    if tuple(written) not in seen:
        seen[tuple(written)] = next_token(engine, request, written)
    total = 0.0
    for number, piece in spelled(engine):
        if piece and piece.startswith(text):
            total += float(seen[tuple(written)][number])
        elif piece and text.startswith(piece):
            chance = float(seen[tuple(written)][number])
            total += chance * in_every_spelling(engine, request, [*written, number], text[len(piece) :], seen)
    return total


def as_it_is_spelled(engine: LocalEngine, request: Request, opening: str, text: str, seen: Any) -> float:
    """The probability of the tokenizer's own spelling, the last token being any that completes the text."""
    tokens = engine._tokenizer.encode(opening + text, add_special_tokens=False)
    chance, said = 1.0, ""
    for index, token in enumerate(tokens):
        before, piece = tuple(tokens[:index]), engine._tokenizer.decode([token])
        if len(said) >= len(opening):
            if before not in seen:
                seen[before] = next_token(engine, request, before)
            rest = (opening + text)[len(said) :]
            last = index == len(tokens) - 1
            ways = [number for number, way in spelled(engine) if way.startswith(rest)] if last else [token]
            chance *= sum(float(seen[before][number]) for number in ways)
        said += piece
    return chance


def test_direct_ratings_are_the_probabilities_of_all_41_strings(engine: LocalEngine, requests: list[Request]) -> None:
    task = TASKS["score"]
    asked = [ask(task, request, True) for request in (requests[0], requests[3], requests[6])]
    found = engine.generate(engine.prepare(asked), DIRECT)
    opening = engine._tokenizer.encode(task.choices.opening, add_special_tokens=False)
    for request, (completion,) in zip(asked, found, strict=True):
        seen: dict[Any, Any] = {}
        expected = [in_every_spelling(engine, request, opening, text, seen) for text in RATINGS]
        assert completion.probabilities[:41] == pytest.approx(expected, rel=1e-4)
        assert (completion.text, completion.completion_tokens) == ("", 0)
        # The mean and the spread, from the plain numbers.
        mass = sum(completion.probabilities)
        shares = [p / mass for p in completion.probabilities]
        ratings = [answer.rating for answer in task.choices.answers.values()]
        mean = sum(r * s for r, s in zip(ratings, shares, strict=True))
        std = sum((r - mean) ** 2 * s for r, s in zip(ratings, shares, strict=True)) ** 0.5
        scaled = task.choices.summary([p / mass for p in completion.probabilities])
        assert scaled == pytest.approx({"mass": 1.0, "rating": mean, "rating_std": std}, abs=1e-6)


@pytest.mark.parametrize("name", ["degradation", "comparison"])
def test_direct_words_are_the_probabilities_of_the_whole_answers(
    engine: LocalEngine, requests: list[Request], name: str
) -> None:
    task = TASKS[name]
    request = ask(task, requests[0] if name == "degradation" else requests[1], True)
    ((completion,),) = engine.generate(engine.prepare([request]), DIRECT)
    seen: dict[Any, Any] = {}
    expected = [as_it_is_spelled(engine, request, task.choices.opening, text, seen) for text in task.choices.answers]
    assert completion.probabilities == pytest.approx(expected, rel=1e-3)
    summary = task.choices.summary([p / sum(expected) for p in expected])
    if name == "comparison":
        best = max(range(3), key=lambda index: expected[index])
        assert summary["winner"] == ("Image A", "Image B", "Similar")[best]
        assert summary["probability"] == pytest.approx(expected[best] / sum(expected), abs=1e-6)
    else:
        by_class = [sum(expected[start : start + 5]) for start in (0, 5, 10, 15)] + [expected[20]]
        best = max(range(5), key=lambda index: by_class[index])
        assert summary["distortion"] == ("noise", "blur", "compression", "darken", "null")[best]
        assert summary["probability"] == pytest.approx(by_class[best] / sum(by_class), abs=1e-6)


def scripted(engine: LocalEngine, texts: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Makes row i of the next batch write texts[i]; returns their tokens."""
    from qinsight_cli.core.engines import sampling

    end = engine._tokenizer.eos_token_id
    tokens = [[*engine._tokenizer.encode(text, add_special_tokens=False), end] for text in texts]

    class Script:
        def __init__(self, *_: Any) -> None:
            self.rows = list(range(len(texts)))

        def keep(self, rows: Any) -> None:
            self.rows = [self.rows[row] for row in rows.tolist()]

        def __call__(self, logits: Any, step: int) -> Any:
            chosen = logits.argmax(dim=1)
            for index, row in enumerate(self.rows):
                chosen[index] = tokens[row][min(step, len(tokens[row]) - 1)]
            return chosen

    monkeypatch.setattr(sampling, "Chooser", Script)
    return [row[:-1] for row in tokens]


WRITTEN = (
    '<think> It is sharp. </think><answer> {"rating": 3.42} </answer>',
    '<think> Strong noise covers the flat areas, and the edges look soft. </think><answer> {"rating": 1} </answer>',
    '<think> é: evenly lit and rich in colour </think><answer> { "Rating" : "4.07" } </answer>',
    "<think> It ends without an answer, after many words of no use to anybody at all, which takes a while longer.",
    '<think></think><answer>{"rating":2.5}</answer>',
)
PLACES = ('{"rating": ', '{"rating": ', '{ "Rating" : "', None, '{"rating":')


def test_a_written_rating_is_read_where_it_stands(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave the loop at different times, and one has no rating."""
    asked = [ask(TASKS["score"], request, False) for request in requests if len(request.images) == 1][: len(WRITTEN)]
    tokens = scripted(engine, WRITTEN, monkeypatch)
    decoding = Decoding(max_new_tokens=max(map(len, tokens)) + 1, rating="expected")
    found = engine.generate(engine.prepare(asked), decoding)
    for request, (completion,), text, ids, place in zip(asked, found, WRITTEN, tokens, PLACES, strict=True):
        assert completion.text == text
        if place is None:
            assert completion.probabilities is None
            continue
        before = text[: text.index(place) + len(place)]
        count = next(n for n in range(len(ids), 0, -1) if len(engine._tokenizer.decode(ids[:n])) <= len(before))
        tail = before[len(engine._tokenizer.decode(ids[:count])) :]
        seen: dict[Any, Any] = {}
        expected = [in_every_spelling(engine, request, ids[:count], tail + rating, seen) for rating in RATINGS]
        assert completion.probabilities[:41] == pytest.approx(expected, rel=1e-4)


def test_prompt_and_pictures_are_computed_once_and_the_fork_is_one_step(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, visual, calls, seen = engine._network, engine._network.model.visual, [], []
    forward, look = network.forward, visual.forward
    monkeypatch.setattr(
        network, "forward", lambda **inputs: calls.append(inputs["input_ids"].shape) or forward(**inputs)
    )
    monkeypatch.setattr(visual, "forward", lambda *inputs, **more: seen.append(1) or look(*inputs, **more))
    batch = engine.prepare([ask(TASKS["score"], requests[0], True)])
    engine.generate(batch, DIRECT)
    assert seen == [1]
    assert calls == [batch.prompts.input_ids.shape, (1, 11)]  # the digits 1 to 5, each with its point, and the root
    calls.clear()
    tokens = scripted(engine, WRITTEN[:1], monkeypatch)
    engine.generate(engine.prepare([ask(TASKS["score"], requests[0], False)]), Decoding(rating="expected"))
    assert seen == [1, 1]
    assert calls[1:] == [(1, 1)] * (len(tokens[0]) - 1) + [(1, 11)]


def test_probabilities_are_the_same_alone_and_in_a_batch(engine: LocalEngine, requests: list[Request]) -> None:
    for name, own in (("score", (0, 2, 3)), ("degradation", (3, 4, 7)), ("comparison", (1, 5))):
        asked = [ask(TASKS[name], requests[index], True) for index in own]
        together = engine.generate(engine.prepare(asked), DIRECT)
        for request, (completion,) in zip(asked, together, strict=True):
            ((alone,),) = engine.generate(engine.prepare([request]), DIRECT)
            assert completion.probabilities == pytest.approx(alone.probabilities, rel=2e-4)
            assert completion.prompt_tokens == alone.prompt_tokens


def test_reading_probabilities_changes_nothing_that_is_written(engine: LocalEngine, requests: list[Request]) -> None:
    alone = [request for request in requests if len(request.images) == 1]
    decoding = Decoding(max_new_tokens=24, samples=2, temperature=1.0)
    plain = engine.generate(engine.prepare(alone), decoding)
    asked = [ask(TASKS["score"], request, False) for request in alone]
    assert engine.generate(engine.prepare(asked), decoding) == plain


def test_a_batch_has_one_kind_of_choices(engine: LocalEngine, requests: list[Request]) -> None:
    with pytest.raises(ValueError, match="different choices"):
        engine.prepare([ask(TASKS["score"], requests[0], True), ask(TASKS["degradation"], requests[0], True)])


# A tokenizer that joins digits with each other, with the point, and with the space before them


@pytest.fixture(scope="module")
def merging(random_model: Path) -> LocalEngine:
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from qinsight_cli.core.models.loading import load_model

    model = load_model(str(random_model), "cpu")
    size = model.network.config.text_config.vocab_size
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    learner = Tokenizer(models.BPE())
    numbers = pre_tokenizers.Split(Regex(r" ?[\d.]+|[^\d. ]+| "), "isolated")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [numbers, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    learner.decoder = decoders.ByteLevel()
    corpus = [f'"rating": {number / 100:.2f}' for number in range(100, 501, 3)] + [" 3.42", " 3.4", "3.", ".42"] * 60
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learner, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    assert len(tokenizer) <= size
    model.network.config.image_token_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    model.network.config.vision_start_token_id = tokenizer.convert_tokens_to_ids("<|vision_start|>")
    processor = make_processor(model.processor.image_processor, tokenizer, model.processor.chat_template)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if weight.ndim > 1 and "embed_tokens" not in name:
                weight.mul_(6.0)
    return LocalEngine(Model(model.network, processor, model.identity))


def test_a_tokenizer_that_joins_digits_is_read_in_every_spelling(
    merging: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, tokenizer = TASKS["score"], merging._tokenizer
    pieces = [piece for _, piece in spelled(merging)]
    assert {".4", "3."} <= {piece[-2:] for piece in pieces if any(letter.isdigit() for letter in piece)}
    request = ask(task, requests[0], True)
    ((completion,),) = merging.generate(merging.prepare([request]), DIRECT)
    head, tail = merging._spelling.head(task.choices.opening, list(task.choices.answers))
    assert tail == " ", "this tokenizer should join the space before the number with it"
    assert tokenizer.decode(head) + tail == task.choices.opening
    expected = [in_every_spelling(merging, request, head, tail + text, {}) for text in RATINGS[20:29]]
    assert completion.probabilities[20:29] == pytest.approx(expected, rel=1e-3)

    text = '<think> ok </think><answer> {"rating": 3.42} </answer>'
    (ids,) = scripted(merging, [text], monkeypatch)
    asked = ask(task, requests[0], False)
    decoding = Decoding(max_new_tokens=len(ids) + 1, rating="expected")
    ((completion,),) = merging.generate(merging.prepare([asked]), decoding)
    start = text.index("3.42")
    count = next(n for n in range(len(ids), 0, -1) if len(tokenizer.decode(ids[:n])) <= start)
    tail = text[len(tokenizer.decode(ids[:count])) : start]
    expected = [in_every_spelling(merging, asked, ids[:count], tail + rating, {}) for rating in RATINGS[20:29]]
    assert completion.probabilities[20:29] == pytest.approx(expected, rel=1e-3)


def test_other_precisions_read_something(random_model: Path, requests: list[Request]) -> None:
    half = load_engine(str(random_model), device="cpu", dtype="bfloat16")
    ((completion,),) = half.generate(half.prepare([ask(TASKS["score"], requests[0], True)]), DIRECT)
    assert 0 < sum(completion.probabilities) < 1
