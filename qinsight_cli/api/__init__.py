"""The Python API: `QInsight` scores pictures, names their degradation and compares them."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from qinsight_cli.api.pictures import Pictures
from qinsight_cli.api.results import A, Comparison, Degradation, Results, Score, answers_of
from qinsight_cli.core.engines import Decoding, Engine, ModelOptions, Request, Served, Unanswered, load
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import MAX_PIXELS
from qinsight_cli.core.images.sending import as_png
from qinsight_cli.core.inference.assess import Reuse, assess, settings_of
from qinsight_cli.core.inference.cache import OFF_VARIABLE, AnswerCache, scope_of
from qinsight_cli.core.models.names import TINY, resolve
from qinsight_cli.core.tasks import Task
from qinsight_cli.core.tasks.comparison import TASK as COMPARISON
from qinsight_cli.core.tasks.score import TASK as SCORE
from qinsight_cli.core.tasks.single_distortion import TASK as DEGRADATION

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

Mode = Literal["reasoned", "direct"]


class Drawing(TypedDict, total=False):
    """How answers are sampled: keywords of `score`, `degrade` and `compare`.

    mode         "reasoned", or "direct": the answer is read without reasoning, much faster
    samples      answers to sample for each question (1); the result is their mean or their majority
    temperature  0 is greedy; the default is 0, or 1 with several samples
    seed         of the random draws (0)
    """

    mode: Mode
    samples: int
    temperature: float | None
    seed: int


class QInsight:
    """A model that judges pictures. It is loaded for the first question, and is safe for several threads.

    A picture is a path, a PIL image, an array of (H, W), (H, W, 3) or (H, W, 4) in uint8 or in floats in [0, 1], or a
    tensor of such a shape. One picture gives one answer. A folder or a list gives `Results`, in order. An unusable
    picture or an unreadable answer gives an answer with an `error`, never an exception.

    model       as the option --model: "tiny", "q-insight", a model folder, a hub id
    device      "auto", "cpu", "cuda", "cuda:1", "mps"
    dtype       "auto", "float32", "bfloat16", "float16"
    max_pixels  larger pictures are scaled down to this area; None keeps the model's own limit
    batch_size  pictures in a batch; None: as many as fit into the free memory, at most 256
    cache       use the answers of earlier calls and commands, and keep new ones
    endpoint    URLs of OpenAI-compatible servers that have the model, instead of loading it here
    Raises QInsightError for a wrong model name; `score`, `degrade` and `compare` if the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = TINY,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_pixels: int | None = None,
        batch_size: int | None = None,
        cache: bool = True,
        endpoint: str | Sequence[str] | None = None,
    ) -> None:
        self.model = os.fspath(model)
        urls = () if endpoint is None else (endpoint,) if isinstance(endpoint, str) else tuple(endpoint)
        if not urls and ":" not in self.model:
            resolve(self.model)
        self._options = ModelOptions(device, dtype, max_pixels, served=Served(urls) if urls else None)
        self._batch_size, self._cached = batch_size, cache
        self._engines: dict[str, Engine] = {}
        self._lock = threading.RLock()

    @overload
    def score(self, pictures: list[Any] | tuple[Any, ...], **how: Unpack[Drawing]) -> Results[Score]: ...
    @overload
    def score(self, pictures: Image | NDArray[Any], **how: Unpack[Drawing]) -> Score: ...
    @overload
    def score(self, pictures: Any, **how: Unpack[Drawing]) -> Any: ...
    def score(self, pictures: Any, **how: Unpack[Drawing]) -> Any:
        """Ratings from 1 (bad) to 5 (excellent): `Score` for one picture, `Results[Score]` for a folder or a list.

        `how` takes the keywords of `Drawing`.
        """
        decoding, seed = _decoding(**how)
        return self._each(SCORE, Score, pictures, replace(decoding, rating="expected"), seed)

    @overload
    def degrade(self, pictures: list[Any] | tuple[Any, ...], **how: Unpack[Drawing]) -> Results[Degradation]: ...
    @overload
    def degrade(self, pictures: Image | NDArray[Any], **how: Unpack[Drawing]) -> Degradation: ...
    @overload
    def degrade(self, pictures: Any, **how: Unpack[Drawing]) -> Any: ...
    def degrade(self, pictures: Any, **how: Unpack[Drawing]) -> Any:
        """Distortion and severity: `Degradation` for one picture, `Results[Degradation]` for a folder or a list."""
        return self._each(DEGRADATION, Degradation, pictures, *_decoding(**how))

    @overload
    def compare(
        self, image_a: list[Any], image_b: list[Any], reference: Any = None, **how: Unpack[Drawing]
    ) -> Results[Comparison]: ...
    @overload
    def compare(self, image_a: Any, image_b: Any, reference: Any = None, **how: Unpack[Drawing]) -> Any: ...
    def compare(self, image_a: Any, image_b: Any, reference: Any = None, **how: Unpack[Drawing]) -> Any:
        """Which of two pictures is better: `Comparison` for two pictures, `Results[Comparison]` for two lists of the
        same length. `reference` is the original of both, or the originals."""
        decoding, seed = _decoding(**how)
        pictures = Pictures()
        names, one = pictures.add(image_a)
        sides = dict(zip(COMPARISON.roles, (names, pictures.add(image_b)[0]), strict=True))
        if reference is not None:
            sides[COMPARISON.optional[0]] = pictures.add(reference)[0]
        if len({len(side) for side in sides.values()}) != 1:
            counts = ", ".join(f"{len(side)} of {role}" for role, side in sides.items())
            raise QInsightError(f"compare needs lists of the same length, but got {counts}")
        items = [dict(zip(sides, names, strict=True)) for names in zip(*sides.values(), strict=True)]
        answers = self._ask(COMPARISON, Comparison, items, pictures, decoding, seed)
        return answers[0] if one else answers

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_new_tokens: int = 1024,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> str:
        """The model's reply to a conversation in the format of Qwen's model cards, up to `</answer>` or its end.

        Pictures are parts {"type": "image", "image": ...}: a path, file://, base64 or a PIL image, and may have keys
        such as `max_pixels`. Raises QInsightError for unusable messages or pictures, and if a server does not answer.
        """
        from qinsight_cli.core.images.conversation import FACTOR, read_conversation

        _decoding(temperature=temperature)
        with self._lock:
            engine = self._loaded(SCORE)
            target, sends = engine.target, engine.sends_files
            conversation, pictures = read_conversation(messages, target.factor if target and not sends else FACTOR)
            if sends and target:
                pictures = tuple(target.fit(picture) for picture in pictures)
            files = tuple(as_png(picture) for picture in pictures) if sends else ()
            batch = engine.prepare([Request(conversation, pictures, seed, files=files)])
            (found,) = engine.generate(batch, Decoding(max_new_tokens=max_new_tokens, temperature=temperature))
        if isinstance(found, Unanswered):
            raise QInsightError(str(found))
        return found[0].text

    def _each(self, task: Task, kind: type[A], pictures: Any, decoding: Decoding, seed: int) -> A | Results[A]:
        named = Pictures()
        names, one = named.add(pictures)
        (role,) = task.roles
        answers = self._ask(task, kind, [{role: name} for name in names], named, decoding, seed)
        return answers[0] if one else answers

    def _ask(
        self,
        task: Task,
        kind: type[A],
        items: Sequence[Mapping[str, str]],
        pictures: Pictures,
        decoding: Decoding,
        seed: int,
    ) -> Results[A]:
        with self._lock:
            engine = self._loaded(task)
            decoding = self._options.supported(decoding, engine.reads_choices, lambda words: None)
            off = not self._cached or os.environ.get(OFF_VARIABLE)
            scope = None if off else scope_of(settings_of(task, engine.identity, decoding, seed), MAX_PIXELS)
            with nullcontext() if scope is None else AnswerCache(scope, lambda words: None) as cache:
                results = assess(
                    task,
                    items,
                    engine,
                    decoding,
                    batch_size=self._batch_size,
                    seed=seed,
                    reuse=Reuse(cache),
                    read=pictures.read,
                )
                return answers_of(kind, task, results)

    def _loaded(self, task: Task) -> Engine:
        name = self._options.name_for(self.model, task)
        if name not in self._engines:
            self._engines[name] = load(name, self._options)
        return self._engines[name]


def _decoding(
    mode: Mode = "reasoned", samples: int = 1, temperature: float | None = None, seed: int = 0
) -> tuple[Decoding, int]:
    """The keywords of `Drawing` -> the decoding and the seed."""
    if mode not in ("reasoned", "direct"):
        raise QInsightError(f"mode {mode!r} is neither 'reasoned' nor 'direct'")
    if samples < 1:
        raise QInsightError(f"samples is {samples}; it must be at least 1")
    warm = (1.0 if samples > 1 else 0.0) if temperature is None else temperature
    if not (warm == 0 or 0.01 <= warm <= 100) or (samples > 1 and warm == 0):
        raise QInsightError(f"temperature is {warm}; it must be 0, for a single sample, or between 0.01 and 100")
    if mode == "direct" and (samples > 1 or warm):
        raise QInsightError("mode 'direct' samples nothing: leave out samples and temperature")
    return Decoding(samples=samples, temperature=warm, mode=mode), seed
