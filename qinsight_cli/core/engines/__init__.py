"""Engines: a batch of requests in, a batch of completions out.

An engine works in two steps, so that the pictures of the next batch are resized while the model writes about this one:
`prepare` is CPU work for a background thread, `generate` runs the model. An engine that works elsewhere also has
`start`, which the background thread calls after `prepare`: requests are on their way while earlier ones are awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from qinsight_cli.core.models.placement import NetworkOptions

if TYPE_CHECKING:
    from PIL import Image

    from qinsight_cli.core.tasks.choices import Choices


@dataclass(frozen=True)
class Request:
    """One question: a conversation (`Task.messages`) and its decoded RGB images in the order of its image parts.

    `seed` decides the random draws for this request, independent of its batch; greedy decoding ignores it. With
    `choices` the engine reads their probabilities: at their place in the completion, or with `direct` instead of one.
    An engine with `start` gets `files`, JPEG or PNG, in the place of images.
    """

    messages: list[dict[str, Any]]
    images: tuple[Image.Image, ...]
    seed: int = 0
    choices: Choices | None = None
    direct: bool = False
    files: tuple[bytes, ...] = ()


class Unanswered(Exception):
    """Why one request of a batch has no completion, while the others have theirs."""

    KIND = "unanswered"


@dataclass(frozen=True)
class Completion:
    """What the model wrote. `finish_reason` is "stop", or "length" if the token limit cut it off.

    `probabilities` are those of the request's choices, in order; None if they were not requested, or if the
    completion has no place for them.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Decoding:
    """How completions are drawn, and how answers are read from them.

    Temperature 0 is greedy; top_k 0 and top_p 1 keep the whole distribution.
    rating  "answer", the number as written, or "expected", the mean of the model's distribution where it wrote it
    mode    "reasoned", or "direct": the model writes nothing; the most likely answer or the expected rating is read
    """

    max_new_tokens: int = 512
    samples: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    rating: str = "answer"
    mode: str = "reasoned"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The settings of the authors' demo scripts (src/eval/demo_score.py in bytedance/Q-Insight).
AUTHORS_DECODING = Decoding(max_new_tokens=1024, temperature=1.0, top_k=50, top_p=0.95)


class Engine(Protocol):
    """`identity` names the weights and the preprocessing, for the journal: {"model": ..., ...}.

    `reads_choices` says whether the engine gives the probabilities of a request's choices. An engine may also have
    `notes`, lines that tell a person what was decided when it was loaded, and `at_a_time(pictures, decoding)`, how many
    requests of so many pictures it answers best together.
    """

    identity: dict[str, Any]
    reads_choices: bool

    def prepare(self, requests: Sequence[Request]) -> Any:
        """Requests -> the tensors (or bodies) of one batch."""

    def generate(self, batch: Any, decoding: Decoding) -> Sequence[list[Completion] | Unanswered]:
        """One batch -> for each request, `decoding.samples` completions, or why it has none."""


@dataclass(frozen=True)
class Served:
    """Where a model is served: OpenAI-compatible servers that all have it.

    urls         of the servers, replicas of one another
    concurrency  requests under way at a time, at all of them together
    key_variable the environment variable with the key, None for servers without one
    timeout      seconds that one request may take
    """

    urls: tuple[str, ...]
    concurrency: int = 32
    key_variable: str | None = None
    timeout: float = 300.0


# Prefix of a model name -> the module of its engine and the function that loads it. A new engine is one file and one
# line here; a name without a known prefix is a model for this machine.
LEVEL_WORD_PREFIX = "deqa"
PLAIN = NetworkOptions()
ENGINES = {
    "": ("qinsight_cli.core.engines.local", "load_engine"),
    LEVEL_WORD_PREFIX: ("qinsight_cli.core.engines.level_words", "load_level_word_engine"),
}
ENDPOINT = "qinsight_cli.core.engines.endpoint"  # the engine of every model that is served


def engine_of(model: str) -> tuple[str, str]:
    """A model name -> (the prefix that names its engine, the model's own name)."""
    prefix, colon, name = model.partition(":")
    return (prefix, name) if colon and prefix in ENGINES else ("", model)


def load(
    model: str,
    device: str = "auto",
    dtype: str = "auto",
    max_pixels: int | None = None,
    options: NetworkOptions = PLAIN,
    served: Served | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Engine:
    """The engine that a model name asks for, ready to answer; the options are those of `models.loading.load_model`.

    With `served` the model is that of a server. `say` gets a line for each of several servers that does not answer.
    Raises QInsightError when there is no such model, or it cannot be loaded.
    """
    if served is not None:
        return import_module(ENDPOINT).load_endpoint(model, served, max_pixels, say)
    prefix, name = engine_of(model)
    module, function = ENGINES[prefix]
    return getattr(import_module(module), function)(name, device, dtype, max_pixels, options)
