"""Ratings from the probabilities of level words, as DeQA-Score and Q-Align read them: `deqa:NAME`.

The prompt asks for a rating and begins the answer ("The quality of the image is"). The rating is the expectation of 5,
4, 3, 2, 1 under the probabilities of "excellent", "good", "fair", "poor", "bad" as the next word, normalised over these
five. Any checkpoint that `core.models` loads can be read so, trained in this form or not. The published DeQA-Score-Mix3
and one-align are mPLUG-Owl2 models that need code from the hub, which qinsight never runs; take their ratings from a
predictions file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qinsight_cli.core.engines import Completion, Decoding, Request
from qinsight_cli.core.engines.local import LocalEngine, ModelInputs
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.tasks.base import IMAGE, text

QUESTION = "How would you rate the quality of this image?"
BEGINNING = "The quality of the image is"
LEVEL_WORDS = {"excellent": 5.0, "good": 4.0, "fair": 3.0, "poor": 2.0, "bad": 1.0}


class LevelWordEngine(LocalEngine):
    """Answers a request for a score with the expectation over the level words, as text that the task can parse."""

    reads_choices = False

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        beginning, self._words = level_word_tokens(self._tokenizer, str(model.identity["model"]))
        self._processor = _OpenedAnswer(self._processor, beginning)
        self.identity = {**model.identity, "question": QUESTION, "answer": f"{BEGINNING} {'|'.join(LEVEL_WORDS)}"}

    def prepare(self, requests: Sequence[Request]) -> ModelInputs:
        """The pictures of the requests, with this engine's own question."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": [IMAGE, text(QUESTION)]}]
        return super().prepare([replace(request, messages=messages) for request in requests])

    def generate(self, batch: ModelInputs, decoding: Decoding) -> list[list[Completion]]:
        """One rating per request. Nothing is drawn, so `decoding` has no effect."""
        import torch

        from qinsight_cli.core.engines.generate import prefill

        with torch.inference_mode():
            logits = prefill(self._network, batch.prompts, 1, 1).logits[:, self._words].double().cpu()
            worth = torch.tensor(list(LEVEL_WORDS.values()), dtype=torch.float64)
            ratings = (logits.softmax(dim=1) @ worth).tolist()
        return [
            [Completion(f'<answer> {{"rating": {rating:.4f}}} </answer>', length, 1, "stop")] * decoding.samples
            for rating, length in zip(ratings, batch.lengths, strict=True)
        ]


class _OpenedAnswer:
    """A processor whose prompts end with the beginning of the answer."""

    def __init__(self, processor: Any, beginning: str) -> None:
        self._inner, self._beginning = processor, beginning

    def apply_chat_template(self, messages: Any, **settings: Any) -> str:
        return self._inner.apply_chat_template(messages, **settings) + self._beginning

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self._inner(*arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def level_word_tokens(tokenizer: Any, name: str) -> tuple[str, list[int]]:
    """The beginning of the answer, and the first token of each level word after it.

    Most tokenizers join a space to the next word. If this one does not, the space ends the beginning.
    Raises QInsightError if two words start with the same token.
    """
    for beginning, space in ((BEGINNING, " "), (f"{BEGINNING} ", "")):
        first = [tokenizer.encode(f"{space}{word}", add_special_tokens=False)[0] for word in LEVEL_WORDS]
        if len(set(first)) == len(first):
            return beginning, first
    raise QInsightError(
        f"{name}: its tokenizer cannot tell the level words {', '.join(LEVEL_WORDS)} by their first token"
    )


def load_level_word_engine(model: str, *options: Any) -> LevelWordEngine:
    """A model by name, ready to rate by level words. The options are those of `load_model`."""
    return LevelWordEngine(load_model(model, *options))
