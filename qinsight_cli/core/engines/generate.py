"""Prefill and decoding for inference and rollouts: prompts -> key-value cache -> completions.

transformers' `generate` has no random generator per row, keeps extending finished rows, recomputes a prompt for every
sample, and costs a small network more in overhead than in computation. This module keeps its semantics: its logits
warpers in its order, its end-of-text tokens, its position ids.
Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers.cache_utils import Cache, DynamicCache

from qinsight_cli.core.engines.cache import RoomyLayer
from qinsight_cli.core.engines.sampling import Chooser
from qinsight_cli.core.errors import QInsightError

STOP = "</answer>"
COMPACT_BELOW = 0.75  # finished rows leave the batch when the share of unfinished rows falls below this


@dataclass(frozen=True)
class PaddedPrompts:
    """Prompts as tensors, padded on the left to the longest, `length` tokens.

    input_ids       (batch, length)
    mask            (batch, length), 0 on padding
    positions       (3, batch, length): the rotary position of each token in time, height and width
    next_position   (batch,): the rotary position of the first new token
    pixels          (patches of all pictures, values per patch)
    grids           (pictures, 3): patches in time, height and width
    """

    input_ids: Tensor
    mask: Tensor
    positions: Tensor
    next_position: Tensor
    pixels: Tensor
    grids: Tensor


def pad_prompts(
    network: Any, ids: Sequence[Sequence[int]], pixels: Tensor, grids: Tensor, filler: int
) -> PaddedPrompts:
    """Token ids of each prompt, and the pictures of all prompts in order -> one batch on the CPU.

    filler  the token id of padding, which no row attends to
    """
    rows = [torch.tensor(row) for row in ids]
    input_ids = pad_sequence(rows, batch_first=True, padding_value=filler, padding_side="left")
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side="left")
    grids = grids.cpu()
    positions, deltas = rotary_positions(network, input_ids, mask, grids)
    return PaddedPrompts(input_ids, mask, positions, mask.sum(1) + deltas[:, 0], pixels, grids)


def rotary_positions(network: Any, input_ids: Tensor, mask: Tensor, grids: Tensor) -> tuple[Tensor, Tensor]:
    """Rotary positions (3, rows, length), and (rows, 1) by how much the position after the prompt differs from its
    index."""
    pictures = (input_ids == network.config.image_token_id).int()
    return network.model.get_rope_index(input_ids, pictures, image_grid_thw=grids, attention_mask=mask)


@dataclass(frozen=True)
class Endings:
    """What ends a completion.

    eos      end-of-text token ids
    closing  bool (vocabulary,): tokens with a ">", since only these can complete `STOP`
    """

    eos: frozenset[int]
    closing: Tensor

    @classmethod
    def of(cls, network: Any, tokenizer: Any, vocabulary: int) -> Endings:
        """From the generation config's eos_token_id (a number, a list or None) and the tokenizer's."""
        configured = network.generation_config.eos_token_id
        eos = configured if isinstance(configured, list) else [configured]
        if not all(number is None or isinstance(number, int) for number in eos):
            raise QInsightError(f"eos_token_id of the model's generation config is {configured!r}, not token numbers")
        closing = torch.zeros(vocabulary, dtype=torch.bool)
        # A byte-level vocabulary writes ">" literally; added tokens are literal too.
        spelled = tokenizer.get_vocab().items()
        closing[[number for token, number in spelled if STOP[-1] in token and number < vocabulary]] = True
        known = {number for number in (*eos, tokenizer.eos_token_id) if number is not None}
        return cls(frozenset(known), closing)


@dataclass
class Written:
    """A completion: its token ids so far, without the end-of-text token.

    probabilities  of the task's choices at their place in the completion, if they were read
    """

    tokens: list[int]
    finish_reason: str = "length"
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Leaving:
    """All rows at the moment when those at `indices` leave the decoding loop.

    layers    the cache: first the prompt, then the tokens of each row
    mask      bool (rows, prompt): False where the prompt is padding
    position  (rows,) rotary position of the first new token
    """

    indices: list[int]
    rows: list[Written]
    layers: list[Any]
    mask: Tensor
    position: Tensor


@dataclass(frozen=True)
class Prefilled:
    """The state of all rows when decoding starts.

    logits    (rows, vocabulary) of the first new token
    layers    the cache, one `RoomyLayer` per decoder layer
    mask      bool (rows, 1, 1, prompt + max_new_tokens): False where the prompt is padding
    position  (rows,) rotary position of the first new token
    """

    logits: Tensor
    layers: list[RoomyLayer]
    mask: Tensor
    position: Tensor


def input_device(network: Any) -> Any:
    """The device for the inputs of a network. Offloaded weights are on "meta" and do not count."""
    return next(weight.device for weight in network.parameters() if not weight.is_meta)


@dataclass
class ReadPrompts:
    """The state after the prompts, one row for each. As `Prefilled`, but `layers` hold only the prompt."""

    logits: Tensor
    layers: list[Any]
    mask: Tensor
    position: Tensor

    def copied(self, copies: int, room: int, keep: bool = False) -> Prefilled:
        """`copies` rows of each prompt, with `room` for new tokens. Without `keep` the prompt's layers are freed."""
        waiting = list(self.layers) if keep else self.layers
        layers = []
        while waiting:  # one at a time, so that each prompt layer is freed as soon as it is copied
            layer = waiting.pop(0)
            layers.append(RoomyLayer(layer.keys, layer.values, copies, room))
        seen = pad(self.mask, (0, room), value=True)
        return Prefilled(
            logits=self.logits.repeat_interleave(copies, dim=0),
            layers=layers,
            mask=seen.repeat_interleave(copies, dim=0)[:, None, None],
            position=self.position.repeat_interleave(copies),
        )


def read_prompts(network: Any, prompts: PaddedPrompts) -> ReadPrompts:
    """Run prompts and pictures through the network once."""
    device = input_device(network)
    mask = prompts.mask.to(device)
    cache = DynamicCache(config=network.config.text_config)
    logits = network(
        input_ids=prompts.input_ids.to(device),
        attention_mask=mask,
        position_ids=prompts.positions.to(device),
        pixel_values=prompts.pixels.to(device),
        image_grid_thw=prompts.grids.to(device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    return ReadPrompts(logits, list(cache.layers), mask.bool(), prompts.next_position.to(device))


def prefill(network: Any, prompts: PaddedPrompts, copies: int, room: int) -> Prefilled:
    """`read_prompts`, then `copies` rows of each prompt, with `room` for new tokens."""
    return read_prompts(network, prompts).copied(copies, room)


def decode(
    network: Any,
    tokenizer: Any,
    start: Prefilled,
    steps: int,
    choose: Chooser,
    ends: Endings,
    leave: Callable[[Leaving], None] = lambda _: None,
    hear: Callable[[Written], None] | None = None,
) -> list[Written]:
    """Decode every row to its end, at most `steps` tokens. Runs under torch.inference_mode.

    leave  gets every row once, with its cache
    hear   gets the first row after each step
    """
    rows = [Written([]) for _ in range(len(start.logits))]
    cache = Cache(layers=start.layers)
    logits, mask, position = start.logits, start.mask, start.position
    closing = ends.closing.tolist()
    prompt = mask.shape[3] - steps
    active: list[Written] = rows
    for step in range(steps):
        chosen = choose(logits, step)
        for row, token in zip(active, chosen.tolist(), strict=True):
            if row.finish_reason != "stop":
                _write(row, token, ends.eos, closing, tokenizer)
        if hear is not None:
            hear(rows[0])
        going = [index for index, row in enumerate(active) if row.finish_reason != "stop"]
        last = not going or step == steps - 1
        if last or len(going) < COMPACT_BELOW * len(active):
            gone = range(len(active)) if last else sorted(set(range(len(active))) - set(going))
            leave(Leaving(list(gone), active, cache.layers, mask[:, 0, 0, :prompt], position))
            if last:
                break
            keep = torch.tensor(going, device=chosen.device)
            active = [active[index] for index in going]
            chosen, mask, position = chosen[keep], mask[keep], position[keep]
            cache.batch_select_indices(keep)
            choose.keep(keep)
        logits = network(
            input_ids=chosen[:, None],
            attention_mask={"full_attention": mask[:, :, :, : prompt + step + 1]},
            position_ids=(position + step).expand(3, 1, -1).transpose(1, 2),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    return rows


def _write(row: Written, token: int, eos: frozenset[int], closing: list[bool], tokenizer: Any) -> None:
    if token in eos:
        row.finish_reason = "stop"
        return
    row.tokens.append(token)
    if closing[token] and STOP in tokenizer.decode(row.tokens, skip_special_tokens=True):
        row.finish_reason = "stop"
