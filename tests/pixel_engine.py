"""A stand-in for a model in tests of everything but models: its answers are a plain function of the pixels."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from qinsight_cli.core.engines import Completion, Decoding, Engine, Request


def rating_of(image: Any) -> float:
    """Mean brightness 0-255 -> 1-5, as this engine rates a picture."""
    return round(1 + 4 * float(np.asarray(image, dtype=np.float64).mean()) / 255, 2)


class PixelEngine(Engine):
    """Rates brightness; the brighter of two wins. A picture with `poison` as its width makes the whole batch fail.

    With a temperature the rating moves by up to 0.2, drawn from the request's seed alone. The probabilities of choices
    are those of its answer; a rating lies between two neighbours on the grid of tenths, so that it is their mean.
    """

    reads_choices = True

    def __init__(self, poison: int = -1, error: Exception | None = None, name: str = "pixels") -> None:
        self.identity: dict[str, Any] = {"model": name}
        self.poison, self.error = poison, error or RuntimeError("absurd image")
        self.batches: list[int] = []

    def prepare(self, requests: Sequence[Request]) -> list[Request]:
        return list(requests)

    def generate(self, batch: list[Request], decoding: Decoding) -> list[list[Completion]]:
        self.batches.append(len(batch))
        if any(image.width == self.poison for request in batch for image in request.images):
            raise self.error
        return [self._answer(request, decoding) for request in batch]

    def _answer(self, request: Request, decoding: Decoding) -> list[Completion]:
        ratings = [rating_of(image) for image in request.images]
        question = " ".join(part.get("text", "") for part in request.messages[1]["content"])
        rng = random.Random(request.seed)
        texts = [self._text(question, ratings, decoding.temperature, rng) for _ in range(decoding.samples)]
        if request.direct:
            return [Completion("", 10, 0, "stop", _probabilities(request.choices, text)) for text in texts]
        return [
            Completion(text, 10, 5, "stop", request.choices and _probabilities(request.choices, text)) for text in texts
        ]

    def _text(self, question: str, ratings: list[float], temperature: float, rng: random.Random) -> str:
        if "distortion_class" in question:
            found = ("darken", "serious") if ratings[0] < 2 else ("null", "null")
            answer = '{"distortion_class": "%s", "severity": "%s"}' % found  # noqa: UP031
        elif "Image A" in question:
            first, second = ratings[-2:]
            answer = "Similar" if first == second else "Image A" if first > second else "Image B"
        else:
            moved = min(5.0, max(1.0, ratings[0] + temperature * rng.uniform(-0.2, 0.2)))
            answer = f'{{"rating": {moved:.2f}}}'
        return f"<think> Brightness {ratings}. It is seen. </think><answer> {answer} </answer>"


def _probabilities(choices: Any, text: str) -> tuple[float, ...]:
    written = re.search(r'"rating": ([\d.]+)', text)
    if written is None:
        return tuple(float(choice in text.partition("<answer>")[2]) for choice in choices.answers)
    below, share = divmod(round(float(written[1]) * 100), 10)
    weights = {f"{below / 10:.1f}": 1 - share / 10, f"{(below + 1) / 10:.1f}": share / 10}
    return tuple(weights.get(choice, 0.0) for choice in choices.answers)
