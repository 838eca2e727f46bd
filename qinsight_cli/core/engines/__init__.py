"""Engines: a batch of requests in, a batch of completions out.

An engine works in two steps, so that the next batch is prepared while the model writes: `prepare` is CPU work for a
background thread, `generate` runs the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.models.names import for_task
from qinsight_cli.core.models.placement import NetworkOptions

if TYPE_CHECKING:
    from PIL import Image

    from qinsight_cli.core.images.fit import Target
    from qinsight_cli.core.tasks import Task
    from qinsight_cli.core.tasks.choices import Choices

AT_A_TIME = 8  # requests in a batch, for an engine that does not know better


@dataclass(frozen=True)
class Request:
    """One question: a conversation (`Task.messages`) and its decoded RGB images in the order of its image parts.

    seed     decides the random draws of this request, whatever its batch; greedy decoding ignores it
    choices  the engine reads their probabilities: at their place in the completion, or with `direct` instead of one
    files    JPEG or PNG files instead of images, for an engine with `sends_files`
    """

    messages: list[dict[str, Any]]
    images: tuple[Image.Image, ...]
    seed: int = 0
    choices: Choices | None = None
    direct: bool = False
    files: tuple[bytes, ...] = ()


class Unanswered(Exception):
    """Why one request of a batch has no completion. The other requests of the batch have theirs."""

    KIND = "unanswered"


@dataclass(frozen=True)
class Completion:
    """The text that the model wrote.

    finish_reason  "stop", or "length" if the token limit cut the text off
    probabilities  of the request's choices, in order; None if not requested, or if the text has no place for them
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Decoding:
    """How completions are sampled, and how answers are read from them.

    temperature  0 is greedy
    top_k, top_p 0 and 1 keep the whole distribution
    rating       "answer": the number as written; "expected": the mean of the model's distribution at its place
    mode         "reasoned", or "direct": the model writes nothing, and the likeliest answer or the expected rating is
                 read from its probabilities
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


class Engine(ABC):
    """A model that answers requests. An engine overrides `prepare`, `generate`, and what differs from the defaults.

    identity       names the weights and the preprocessing, for the journal: {"model": ..., ...}
    reads_choices  whether it gives the probabilities of a request's choices
    notes          lines for the user about how the model was loaded
    target         the sizes to which pictures are scaled before `prepare`; None: they keep their size
    sends_files    whether it needs `Request.files`
    listener       gets the text so far of a batch's first completion, again and again
    """

    identity: dict[str, Any]
    reads_choices: bool = False
    notes: Sequence[str] = ()
    target: Target | None = None
    sends_files: bool = False
    listener: Callable[[str], None] | None = None

    @abstractmethod
    def prepare(self, requests: Sequence[Request]) -> Any:
        """Requests -> the tensors (or bodies) of one batch. CPU work."""

    def start(self, batch: Any, decoding: Decoding) -> None:  # noqa: B027 - most engines have nothing to send
        """Called in the background after `prepare`: an engine elsewhere sends the batch before `generate` waits."""

    @abstractmethod
    def generate(self, batch: Any, decoding: Decoding) -> Sequence[list[Completion] | Unanswered]:
        """One batch -> for each request `decoding.samples` completions, or why it has none."""

    def at_a_time(self, pictures: int, decoding: Decoding) -> int:
        """How many requests of so many pictures to send in one batch."""
        return AT_A_TIME

    def release(self) -> None:  # noqa: B027 - most engines leave nothing behind
        """Free the memory that a failed batch has left behind."""


@dataclass(frozen=True)
class Served:
    """Where a model is served: OpenAI-compatible servers that all have it.

    urls          of the servers, which are replicas of each other
    concurrency   requests in flight, over all servers
    key_variable  the environment variable that holds the key; None for servers without a key
    timeout       seconds for one request
    """

    urls: tuple[str, ...]
    concurrency: int = 32
    key_variable: str | None = None
    timeout: float = 300.0


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded on this machine, as in `models.loading.load_model`, or where it is `served`."""

    device: str = "auto"
    dtype: str = "auto"
    max_pixels: int | None = None
    network: NetworkOptions = field(default_factory=NetworkOptions)
    served: Served | None = None

    def name_for(self, model: str, task: Task) -> str:
        """The name of a model's weights for a task: a release may have a folder for each kind of task."""
        return model if self.served else for_task(model, task.folder)

    def supported(self, decoding: Decoding, reads_choices: bool, say: Callable[[str], None]) -> Decoding:
        """The decoding, with ratings as written if the servers give no probabilities; `say` then gets a line."""
        if self.served is None or reads_choices or decoding.rating == "answer":
            return decoding
        say("the endpoint gives no probabilities (logprobs): ratings are the numbers that the model writes")
        return replace(decoding, rating="answer")


# Prefix of a model name -> the module of its engine and the function that loads it. A new engine is one file and one
# line here; a name without a known prefix is a model for this machine.
LEVEL_WORD_PREFIX = "deqa"
ENGINES = {
    "": ("qinsight_cli.core.engines.local", "load_engine"),
    LEVEL_WORD_PREFIX: ("qinsight_cli.core.engines.level_words", "load_level_word_engine"),
}
ENDPOINT = "qinsight_cli.core.engines.endpoint"  # the engine of every served model


def engine_of(model: str) -> tuple[str, str]:
    """A model name -> (the prefix that names its engine, the name without it)."""
    prefix, colon, name = model.partition(":")
    return (prefix, name) if colon and prefix in ENGINES else ("", model)


def load(model: str, options: ModelOptions | None = None, say: Callable[[str], None] = lambda words: None) -> Engine:
    """The engine of a model name, ready to answer. `say` gets its notes, and a line for each silent server.

    Raises QInsightError if there is no such model, or it cannot be loaded.
    """
    options = options or ModelOptions()
    if options.served is not None:
        return import_module(ENDPOINT).load_endpoint(model, options.served, options.max_pixels, say)
    prefix, name = engine_of(model)
    module, function = ENGINES[prefix]
    load_local = getattr(import_module(module), function)
    engine: Engine = load_local(name, options.device, options.dtype, options.max_pixels, options.network)
    for note in engine.notes:
        say(note)
    return engine
