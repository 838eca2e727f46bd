"""Prompts and pictures computed once for all completions of a group, in the rollouts and in the update.

TRL repeats a prompt for each of its N completions and computes all of it N times. Here the rollouts prefill a prompt
once and decode N rows from copies of its cache, and the update packs the N completions behind one prompt in one
sequence: a mask keeps them from seeing each other, and their positions all begin where the prompt ends. The
log-probabilities are the same up to rounding. Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from qinsight_cli.core.data.splits import seed_of
from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.generate import (
    Chooser,
    Endings,
    decode,
    pad_prompts,
    prefill,
    rotary_positions,
)
from qinsight_cli.core.engines.sampling import uniforms

UNSCORED = -100  # the label of a position that predicts nothing
FILLER = -1  # the segment of padding; 0 is the prompt, 1, 2, ... its completions


def _pictures(pixels: Tensor, grids: Tensor, pictures: Sequence[int], start: int, end: int) -> tuple[Tensor, Tensor]:
    """Pixels and grids of the rows from `start` to `end`; `pictures` is the number of each."""
    first, last = sum(pictures[:start]), sum(pictures[:end])
    patches = grids.prod(dim=1)
    top, bottom = int(patches[:first].sum()), int(patches[:last].sum())
    return pixels[top:bottom], grids[first:last]


# The rollouts


class RecordingChooser(Chooser):
    """A chooser that records the tokens it chooses, with the end-of-text token. `written`: token ids of each row."""

    def __init__(self, decoding: Decoding, draws: Tensor, banned: Tensor) -> None:
        super().__init__(decoding, draws, banned)
        self.written: list[list[int]] = [[] for _ in range(len(draws))]
        self._active = list(range(len(draws)))

    def keep(self, rows: Tensor) -> None:
        super().keep(rows)
        self._active = [self._active[row] for row in rows.tolist()]

    def __call__(self, logits: Tensor, step: int) -> Tensor:
        chosen = super().__call__(logits, step)
        for row, token in zip(self._active, chosen.tolist(), strict=True):
            self.written[row].append(token)
        return chosen


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts, each with `copies` completions to sample.

    ids            token ids of each
    pixels, grids  of the pictures of all, in order
    pictures       how many pictures each has
    """

    ids: list[list[int]]
    pixels: Tensor
    grids: Tensor
    pictures: tuple[int, ...]
    copies: int

    def parts(self, size: int) -> Iterator[Prompts]:
        """The same prompts in parts of `size`."""
        for start in range(0, len(self.ids), size):
            end = start + size
            pixels, grids = _pictures(self.pixels, self.grids, self.pictures, start, end)
            yield Prompts(self.ids[start:end], pixels, grids, self.pictures[start:end], self.copies)


def roll_out(
    network: Any,
    tokenizer: Any,
    prompts: Prompts,
    decoding: Decoding,
    draws: Tensor,
    banned: Tensor,
    eos: Sequence[int],
) -> list[list[int]]:
    """The sampled completions of each copy of each prompt: token ids with the end-of-text token.

    draws: float32 (prompts * copies, max_new_tokens) in [0, 1); banned: token ids that are never chosen.
    """
    nothing = torch.zeros(network.config.text_config.vocab_size, dtype=torch.bool)  # no text ends a completion
    choose = RecordingChooser(decoding, draws, banned)
    with torch.inference_mode():
        padded = pad_prompts(network, prompts.ids, prompts.pixels, prompts.grids, tokenizer.pad_token_id)
        start = prefill(network, padded, prompts.copies, decoding.max_new_tokens)
        decode(network, tokenizer, start, decoding.max_new_tokens, choose, Endings(frozenset(eos), nothing))
    return [_until_end(tokens, eos) for tokens in choose.written]


def _until_end(tokens: list[int], eos: Sequence[int]) -> list[int]:
    ends = [index for index, token in enumerate(tokens) if token in eos]
    return tokens[: ends[0] + 1] if ends else tokens


def draws_of(seed: int, step: int, rows: range, num_generations: int, tokens: int) -> Tensor:
    """The random numbers of rows of a step, float32 (rows, tokens): the same for any number of processes."""
    groups = {}
    for group in sorted({row // num_generations for row in rows}):
        groups[group] = uniforms([seed_of(f"{seed}:{step}:{group}")], num_generations, tokens)
    return torch.stack([groups[row // num_generations][row % num_generations] for row in rows])


# The update


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a batch as TRL has them: prompts padded on the left, completions on the right.

    input_ids, mask  (rows, length); mask is 0 on padding
    completion       how many of the columns at the end belong to completions
    pixels, grids    of the pictures of all rows, in order
    pictures         how many pictures each row has
    """

    input_ids: Tensor
    mask: Tensor
    completion: int
    pixels: Tensor
    grids: Tensor
    pictures: tuple[int, ...]

    def part(self, start: int, end: int) -> Rows:
        ids, mask = self.input_ids[start:end], self.mask[start:end]
        pixels, grids = _pictures(self.pixels, self.grids, self.pictures, start, end)
        return Rows(ids, mask, self.completion, pixels, grids, self.pictures[start:end])

    def groups(self) -> list[Rows]:
        """Runs of rows with the same prompt and the same pictures."""
        rows = [self.part(index, index + 1) for index in range(len(self.input_ids))]
        starts = [0] + [index for index in range(1, len(rows)) if not rows[index]._same_prompt(rows[index - 1])]
        return [self.part(start, end) for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]

    def _same_prompt(self, other: Rows) -> bool:
        prompt = slice(None, -self.completion)
        return (
            torch.equal(self.input_ids[:, prompt], other.input_ids[:, prompt])
            and torch.equal(self.grids, other.grids)
            and torch.equal(self.pixels, other.pixels)
        )


def shared_log_probs(model: Any, network: Any, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities, and entropies if the model gives them, of the completion tokens, (rows, completion).

    `model` is `network` as the trainer wraps it, with TRL's fused head. Zero where a row has no token.
    """
    groups = rows.groups()
    first = [group.part(0, 1) for group in groups]
    firsts = Rows(
        torch.cat([row.input_ids for row in first]),
        torch.cat([row.mask for row in first]),
        rows.completion,
        torch.cat([row.pixels for row in first]),
        torch.cat([row.grids for row in first]),
        tuple(row.pictures[0] for row in first),
    )
    prompt = slice(None, -rows.completion)
    prompt_ids, prompt_mask = firsts.input_ids[:, prompt].contiguous(), firsts.mask[:, prompt].contiguous()
    positions, _ = rotary_positions(network, prompt_ids, prompt_mask, firsts.grids)
    packed = [
        _pack(group, prompt_ids[index], int(prompt_mask[index].sum()), positions[:, index])
        for index, group in enumerate(groups)
    ]
    segments = pad_sequence([one.segments for one in packed], batch_first=True, padding_value=FILLER)
    output = model(
        input_ids=pad_sequence([one.ids for one in packed], batch_first=True),
        attention_mask={"full_attention": _mask(segments)},
        position_ids=pad_sequence([one.positions for one in packed], batch_first=True).permute(2, 0, 1),
        pixel_values=firsts.pixels,
        image_grid_thw=firsts.grids,
        shift_labels=pad_sequence([one.labels for one in packed], batch_first=True, padding_value=UNSCORED),
        fused_lm_head=True,
    )
    return tuple(  # type: ignore[return-value]
        None if values is None else _unpack(values, packed, rows.completion)
        for values in (output.log_probs, output.entropy)
    )


@dataclass(frozen=True)
class PackedGroup:
    """A prompt and its completions in one sequence of `length` tokens.

    Each completion begins with a copy of the prompt's last token, which predicts its first one.
    ids, labels, segments (length,); positions (length, 3); counts: tokens of each completion, in order.
    """

    ids: Tensor
    labels: Tensor
    segments: Tensor
    positions: Tensor
    counts: tuple[int, ...]


def _pack(group: Rows, prompt: Tensor, length: int, positions: Tensor) -> PackedGroup:
    """prompt: (padded length,) with `length` tokens at its end; positions: (3, padded length)."""
    completions = group.input_ids[:, -group.completion :]
    counts = tuple(group.mask[:, -group.completion :].sum(1).tolist())
    prefix, last = prompt[-length:-1], prompt[-1:]
    ids, labels = [prefix], [torch.full_like(prefix, UNSCORED)]
    segments = [torch.zeros_like(prefix)]
    places = [positions[:, -length:-1]]
    for number, (row, count) in enumerate(zip(completions, counts, strict=True), 1):
        ids.append(torch.cat([last, row[: max(0, count - 1)]])[:count])
        labels.append(row[:count])
        segments.append(torch.full_like(row[:count], number))
        places.append(positions[:, -1:] + torch.arange(count, device=row.device))
    return PackedGroup(torch.cat(ids), torch.cat(labels), torch.cat(segments), torch.cat(places, dim=1).T, counts)


def _mask(segments: Tensor) -> Tensor:
    """bool (groups, 1, length, length): a token sees what comes before it in its prompt and in its own completion."""
    query, key = segments[:, :, None], segments[:, None, :]
    return ((key == 0) | (key == query)).tril()[:, None]


def _unpack(values: Tensor, packed: Sequence[PackedGroup], width: int) -> Tensor:
    """(groups, length) -> (rows, width), in the order of the rows."""
    rows = []
    for one, line in zip(packed, values, strict=True):
        start = len(one.ids) - sum(one.counts)
        for count in one.counts:
            rows.append(pad(line[start : start + count], (0, width - count)))
            start += count
    return torch.stack(rows)
