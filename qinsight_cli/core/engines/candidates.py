"""The probability of each candidate text as the continuation, from one forward pass over a tree of all candidates.

All nodes of a `TokenTree` go through the network in one sequence. A mask lets each node see only the prompt and its own
ancestors, and each has the position that it would have as generated text. The first node repeats the last token before
the candidates. The probabilities are the network's own, at temperature 1.
Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from qinsight_cli.core.engines.cache import RoomyLayer
from qinsight_cli.core.engines.generate import Leaving, Prefilled, Written
from qinsight_cli.core.engines.token_tree import Spelling, TokenTree, grow
from qinsight_cli.core.tasks.choices import Choices


@dataclass(frozen=True)
class Fork:
    """The state of each row before its candidates.

    layers    the cache, with room for the nodes of the tree
    visible   bool (rows, columns of the cache): all tokens before the last one
    last      (rows,): the last token before the candidates
    position  (rows,): its rotary position
    """

    layers: list[RoomyLayer]
    visible: Tensor
    last: Tensor
    position: Tensor


def probabilities(network: Any, fork: Fork, tree: TokenTree) -> Tensor:
    """float64 (rows, candidates) on the CPU. Runs under torch.inference_mode."""
    device, rows = fork.last.device, len(fork.last)
    ancestors = _ancestors(tree)
    tokens = torch.tensor(tree.tokens, device=device).repeat(rows, 1)
    tokens[:, 0] = fork.last
    before = fork.visible[:, None, None].expand(-1, 1, len(tree.tokens), -1)
    own = ancestors.to(device).expand(rows, 1, -1, -1)
    depths = torch.tensor(tree.depths, device=device)
    logits = network(
        input_ids=tokens,
        attention_mask={"full_attention": torch.cat([before, own], dim=3)},
        position_ids=(fork.position[:, None] + depths).expand(3, -1, -1),
        past_key_values=Cache(layers=fork.layers),
        use_cache=True,
    ).logits
    total = torch.stack([row.float().logsumexp(dim=1) for row in logits]).cpu().double()  # some devices have no float64

    def log_probability(nodes: Sequence[int], following: Sequence[int]) -> Tensor:
        picked = logits[:, torch.tensor(nodes, device=device), torch.tensor(following, device=device)]
        return picked.cpu().double() - total[:, list(nodes)]

    steps = log_probability(tree.parents, tree.tokens)
    steps[:, 0] = 0.0
    reached = steps @ ancestors.double().T
    said = (reached[:, list(tree.nodes)] + log_probability(tree.nodes, tree.nexts)).exp()
    found = torch.zeros(rows, tree.count, dtype=torch.float64)
    return found.index_add_(1, torch.tensor(tree.candidates, dtype=torch.long), said)


def _ancestors(tree: TokenTree) -> Tensor:
    """bool (nodes, nodes): a node and its ancestors."""
    found = torch.eye(len(tree.tokens), dtype=torch.bool)
    for node in range(1, len(tree.tokens)):
        found[node] |= found[tree.parents[node]]
    return found


def _picked(layer: Any, rows: Tensor, room: int) -> RoomyLayer:
    """These rows of a layer. The layer may be on another device than `rows`."""
    rows = rows.to(layer.keys.device)
    return RoomyLayer(layer.keys[rows], layer.values[rows], 1, room)


class CandidateReader:
    """Reads the probabilities of a task's choices: right after the prompt, or at their place in the completion."""

    def __init__(self, network: Any, tokenizer: Any, spelling: Spelling, choices: Choices) -> None:
        self._network, self._tokenizer, self._spelling = network, tokenizer, spelling
        self._choices, self._texts = choices, list(choices.answers)
        self._trees: dict[str, TokenTree] = {}

    @cached_property
    def direct_tree(self) -> TokenTree:
        """The tree that follows a prompt which ends with the opening of an answer."""
        opening = self._choices.opening
        _, tail = self._spelling.head(opening, self._texts)
        return grow(self._spelling, opening[: len(opening) - len(tail)], tail, self._texts)

    def read_prompt(self, start: Prefilled, last: Tensor) -> list[tuple[float, ...]]:
        """The probabilities after each prompt; `last` (rows,) is its last token. `start` needs room for
        `direct_tree`."""
        visible = start.mask[:, 0, 0, : start.layers[0].length].clone()
        visible[:, -1] = False
        found = probabilities(self._network, Fork(start.layers, visible, last, start.position - 1), self.direct_tree)
        return [tuple(row) for row in found.tolist()]

    def read_written(self, leaving: Leaving) -> None:
        """Set `probabilities` of those leaving rows in which the task finds a place for its choices."""
        by_tree: dict[str, list[tuple[int, int]]] = {}
        for index in leaving.indices:
            found = self._place(leaving.rows[index])
            if found is not None:
                count, before, tail = found
                if tail not in self._trees:
                    self._trees[tail] = grow(self._spelling, before, tail, self._texts)
                by_tree.setdefault(tail, []).append((index, count))
        for tail, places in by_tree.items():
            self._read(leaving, places, self._trees[tail])

    def _read(self, leaving: Leaving, places: Sequence[tuple[int, int]], tree: TokenTree) -> None:
        """places: (index in `leaving`, how many of its tokens come before the candidates)."""
        device = leaving.mask.device
        at = torch.tensor([index for index, _ in places], device=device)
        counts = torch.tensor([count for _, count in places], device=device)
        rows = [leaving.rows[index] for index, _ in places]
        layers = [_picked(layer, at, len(tree.tokens)) for layer in leaving.layers]
        written = torch.arange(layers[0].length - leaving.mask.shape[1], device=device) < counts[:, None] - 1
        fork = Fork(
            layers=layers,
            visible=torch.cat([leaving.mask[at], written], dim=1),
            last=torch.tensor([row.tokens[count - 1] for row, (_, count) in zip(rows, places, strict=True)]).to(device),
            position=leaving.position[at] + counts - 1,
        )
        for row, found in zip(rows, probabilities(self._network, fork, tree).tolist(), strict=True):
            row.probabilities = tuple(found)

    def _place(self, row: Written) -> tuple[int, str, str] | None:
        """How many tokens come before the candidates, their text, and the text between them and the candidates, which
        belongs to the next token."""

        def spelled(count: int) -> str:
            return self._tokenizer.decode(row.tokens[:count], skip_special_tokens=True)

        text = spelled(len(row.tokens))
        start = self._choices.place(text) if self._choices.place else None
        if start is None:
            return None
        count = next(n for n in range(len(row.tokens), -1, -1) if len(spelled(n)) <= start)
        before = spelled(count)
        return (count, before, text[len(before) : start]) if count else None
