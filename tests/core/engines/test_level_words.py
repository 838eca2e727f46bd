"""Ratings from level words against the network's own probabilities."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.engines import Decoding, Request
from qinsight_cli.core.engines.level_words import (
    BEGINNING,
    LEVEL_WORDS,
    QUESTION,
    level_word_tokens,
    load_level_word_engine,
)
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS, score


def request(image: Image.Image) -> Request:
    return Request(TASKS["score"].messages(("image",)), (image,))


@pytest.fixture(scope="module")
def engine(random_model: Path) -> Any:
    return load_level_word_engine(str(random_model), "cpu")


def test_the_rating_is_the_expectation_under_the_next_word(engine: Any, random_model: Path, photo: Any) -> None:
    import torch

    from qinsight_cli.core.models.loading import load_model

    image = Image.fromarray(photo[:100, :100])
    (completion,) = engine.generate(engine.prepare([request(image)]), Decoding())[0]
    model = load_model(str(random_model), "cpu")
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    beginning, words = level_word_tokens(model.processor.tokenizer, "random")
    prompt = model.processor.apply_chat_template(messages, add_generation_prompt=True) + beginning
    inputs = model.processor(text=[prompt], images=[image], return_tensors="pt")
    with torch.inference_mode():
        logits = model.network(**inputs).logits[0, -1]
    shares = torch.softmax(logits[words].double(), dim=0).tolist()
    expected = sum(share * worth for share, worth in zip(shares, LEVEL_WORDS.values(), strict=True))
    answer = score.parse(completion.text)
    assert isinstance(answer, score.Score)
    assert answer.rating == pytest.approx(expected, abs=2e-4)
    assert completion.finish_reason == "stop"


def test_pictures_of_one_batch_get_the_ratings_they_get_alone(engine: Any, photo: Any) -> None:
    images = [Image.fromarray(photo[:side, :side]) for side in (60, 90, 128)]
    together = engine.generate(engine.prepare([request(image) for image in images]), Decoding())
    alone = [engine.generate(engine.prepare([request(image)]), Decoding())[0] for image in images]
    ratings = [[score.parse(c.text).rating for (c,) in side] for side in (together, alone)]  # type: ignore[union-attr]
    assert ratings[0] == pytest.approx(ratings[1], abs=2e-4)


def test_the_journal_can_tell_it_from_the_same_model_asked_in_words(engine: Any) -> None:
    assert engine.identity["question"] == QUESTION


def test_the_space_goes_to_the_side_where_the_words_can_be_told_apart() -> None:
    joined = SimpleNamespace(encode=lambda words, add_special_tokens: [hash(words)])
    assert level_word_tokens(joined, "m")[0] == BEGINNING
    parted = SimpleNamespace(encode=lambda words, add_special_tokens: [ord(words[0])])
    beginning, tokens = level_word_tokens(parted, "m")
    assert (beginning, tokens) == (f"{BEGINNING} ", [ord(letter) for letter in "egfpb"])


def test_a_tokenizer_that_cannot_tell_the_words_is_refused() -> None:
    same = SimpleNamespace(encode=lambda words, add_special_tokens: [7])
    with pytest.raises(QInsightError, match="m: its tokenizer cannot tell the level words"):
        level_word_tokens(same, "m")
