"""Engines: a batch of requests in, a batch of completions out.

An engine works in two steps, so that the pictures of the next batch are resized while the model writes about this one:
`prepare` is CPU work that a background thread may do, `generate` is the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Request:
    """One question: a conversation (`Task.messages`) and its decoded RGB images in the order of its image parts.

    `seed` decides the random draws for this request, whatever batch it travels in; greedy decoding ignores it.
    """

    messages: list[dict[str, Any]]
    images: tuple[Image.Image, ...]
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """What the model wrote. `finish_reason` is "stop", or "length" when the token limit cut it off."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


@dataclass(frozen=True)
class Decoding:
    """How completions are drawn. Temperature 0 is greedy; top_k 0 and top_p 1 keep the whole distribution."""

    max_new_tokens: int = 512
    samples: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The settings of the authors' demo scripts (src/eval/demo_score.py in bytedance/Q-Insight).
AUTHORS_DECODING = Decoding(max_new_tokens=1024, temperature=1.0, top_k=50, top_p=0.95)


class Engine(Protocol):
    """`identity` says which weights and which preprocessing answer, for the journal: {"model": ..., ...}."""

    identity: dict[str, Any]

    def prepare(self, requests: Sequence[Request]) -> Any:
        """Requests -> the tensors (or bodies) of one batch."""

    def generate(self, batch: Any, decoding: Decoding) -> list[list[Completion]]:
        """One batch -> for each request, `decoding.samples` completions."""
