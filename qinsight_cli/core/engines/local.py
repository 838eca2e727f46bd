"""The local engine: one code path through transformers for `tiny` and for the 7B model.

A prompt and its pictures are computed once, for any number of samples. Each sample has its own random generator, so in
float32 a request gets the same answers in any batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.engines import Completion, Decoding, Engine, Request
from qinsight_cli.core.engines.token_tree import Path, Spelling
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import check_shape
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.models.loading import PLAIN, Model, load_model
from qinsight_cli.core.models.memory import keep_freed
from qinsight_cli.core.models.placement import NetworkOptions

if TYPE_CHECKING:
    from qinsight_cli.core.engines.candidates import CandidateReader
    from qinsight_cli.core.engines.generate import PaddedPrompts, Written
    from qinsight_cli.core.tasks.choices import Choices

BICUBIC = 3  # Pillow's number
# Special tokens for pictures. They are never sampled: the model cannot write a picture.
PICTURE_TOKENS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
)


@dataclass(frozen=True)
class ModelInputs:
    """Requests as tensors on the CPU.

    lengths  of each prompt, in tokens
    seeds    of each request
    choices  of all requests
    direct   the prompts end with the opening of an answer
    """

    prompts: PaddedPrompts
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]
    choices: Choices | None = None
    direct: bool = False


class LocalEngine(Engine):
    """A Qwen2.5-VL model on this machine. `prepare` may run on another thread than `generate`."""

    reads_choices = True

    def __init__(self, model: Model) -> None:
        from qinsight_cli.core.engines.generate import Endings
        from qinsight_cli.core.engines.parts import Writer

        self.identity, self.notes = model.identity, model.notes
        self._network, self._processor = model.network, model.processor
        self.target = _target(model.processor.image_processor)
        # Threads must not share a fast tokenizer: `prepare` uses the processor's, `generate` this copy.
        self._tokenizer = copy.deepcopy(model.processor.tokenizer)
        config = model.network.config
        self._context = config.text_config.max_position_embeddings
        endings = Endings.of(model.network, self._tokenizer, config.text_config.vocab_size)
        self._openings = Spelling(model.processor.tokenizer, config.text_config.vocab_size)
        self._spelling = Spelling(self._tokenizer, config.text_config.vocab_size)
        self._heads: dict[Choices, Path] = {}
        self._readers: dict[Choices, CandidateReader] = {}
        known = self._tokenizer.get_vocab()
        self._banned = sorted({known[token] for token in PICTURE_TOKENS if token in known})
        self._writer = Writer(self._network, self._tokenizer, self._banned, endings)

    def prepare(self, requests: Sequence[Request]) -> ModelInputs:
        """Requests (at least one, each with at least one picture, all with the same choices) -> one batch. CPU work.

        Raises ImageError for a picture with an unusable shape, QInsightError for a prompt that is too long.
        """
        import torch

        from qinsight_cli.core.engines.generate import pad_prompts

        for request in requests:
            for image in request.images:
                check_shape(*image.size)
        processor = self._processor
        inputs = processor(
            text=[processor.apply_chat_template(r.messages, add_generation_prompt=True) for r in requests],
            images=[image for request in requests for image in request.images],
        )
        choices, direct = requests[0].choices, requests[0].direct
        if any((request.choices, request.direct) != (choices, direct) for request in requests):
            raise ValueError("the requests of a batch have different choices")
        ids: list[list[int]] = inputs["input_ids"]
        if choices is not None and direct:
            ids = [[*row, *self._head(choices)] for row in ids]
        lengths = tuple(len(row) for row in ids)
        self._check_length(max(lengths))
        pixels, grids = torch.as_tensor(inputs["pixel_values"]), torch.as_tensor(inputs["image_grid_thw"])
        prompts = pad_prompts(self._network, ids, pixels, grids, processor.tokenizer.pad_token_id)
        return ModelInputs(prompts, lengths, tuple(request.seed for request in requests), choices, direct)

    def _head(self, choices: Choices) -> Path:
        """The tokens of an answer's opening, which end a direct prompt."""
        if choices not in self._heads:
            self._heads[choices], _ = self._openings.head(choices.opening, list(choices.answers))
        return self._heads[choices]

    def _check_length(self, tokens: int) -> None:
        if tokens >= self._context:
            raise QInsightError(
                f"the pictures and the prompt take {tokens} tokens, more than the {self._context} that this model can "
                "read; give a smaller --max-pixels"
            )

    def generate(self, batch: ModelInputs, decoding: Decoding) -> list[list[Completion]]:
        """For each request of the batch, `decoding.samples` completions.

        A completion ends with `</answer>`, at an end-of-text token, or after `decoding.max_new_tokens` (finish_reason
        "length"). Greedy samples are identical. In a direct batch the texts are empty. Raises torch.OutOfMemoryError if
        the device runs out of memory.
        """
        import torch

        reader = None if batch.choices is None else self._reader(batch.choices)
        if reader is not None and batch.direct:
            return self._read_directly(batch, reader, decoding)
        leave = {} if reader is None else {"leave": reader.read_written}
        with torch.inference_mode():
            hear = None if self.listener is None else self._hear
            written = self._writer.write(batch.prompts, batch.seeds, decoding, hear=hear, **leave)
        return [
            [self._completion(row, length) for row in rows for _ in range(decoding.samples // len(rows))]
            for rows, length in zip(written, batch.lengths, strict=True)
        ]

    def at_a_time(self, pictures: int, decoding: Decoding) -> int:
        """How many requests of so many pictures fit into the free memory; no more than are still faster together."""
        from qinsight_cli.core.engines.batch_size import requests_at_a_time

        largest = self._processor.image_processor.size["longest_edge"]
        return requests_at_a_time(self._network, largest, pictures, decoding)

    def release(self) -> None:
        from qinsight_cli.core.models.memory import release

        release()

    def _hear(self, row: Written) -> None:
        if self.listener is not None:
            self.listener(self._tokenizer.decode(row.tokens, skip_special_tokens=True))

    def _completion(self, row: Written, prompt_tokens: int) -> Completion:
        from qinsight_cli.core.engines.generate import STOP

        text = self._tokenizer.decode(row.tokens, skip_special_tokens=True)
        before, stop, _ = text.partition(STOP)
        return Completion(before + stop, prompt_tokens, len(row.tokens), row.finish_reason, row.probabilities)

    def _reader(self, choices: Choices) -> CandidateReader:
        from qinsight_cli.core.engines.candidates import CandidateReader

        if choices not in self._readers:
            self._readers[choices] = CandidateReader(self._network, self._tokenizer, self._spelling, choices)
        return self._readers[choices]

    def _read_directly(self, batch: ModelInputs, reader: CandidateReader, decoding: Decoding) -> list[list[Completion]]:
        import torch

        from qinsight_cli.core.engines.generate import prefill

        with torch.inference_mode():
            start = prefill(self._network, batch.prompts, 1, len(reader.direct_tree.tokens))
            found = reader.read_prompt(start, batch.prompts.input_ids[:, -1].to(start.logits.device))
        return [
            [Completion("", length, 0, "stop", row)] * decoding.samples
            for row, length in zip(found, batch.lengths, strict=True)
        ]


def _target(images: Any) -> Target | None:
    """The sizes to which an image processor scales pictures; None if pictures must not be scaled before it."""
    if not images.do_resize or images.resample != BICUBIC:
        return None
    return Target.of(images)


def load_engine(
    model: str,
    device: str = "auto",
    dtype: str = "auto",
    max_pixels: int | None = None,
    options: NetworkOptions = PLAIN,
) -> LocalEngine:
    """A model by name, ready to answer. The options are those of `load_model`."""
    loaded = load_model(model, device, dtype, max_pixels, options)
    if loaded.identity["device"] == "cpu":
        keep_freed()
    return LocalEngine(loaded)
