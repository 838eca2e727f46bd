"""Candidate texts as a tree of tokens, to read the probability of each as the continuation of a text.

A tree gives the input of the network and the probabilities to add up, for any tokenization of digits and spaces. Every
token that completes a candidate counts, also one that goes on after it: "42" completes ".4". A short candidate, such as
a rating, counts in all its tokenizations. A longer one counts only in the tokenizer's own, the only one that a model
learns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile
from typing import Any

Path = tuple[int, ...]
SHORT = 6  # up to this many characters all tokenizations count


class Spelling:
    """The text of each token of a tokenizer. Special tokens have none."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """vocabulary: how many tokens the network knows."""
        self.tokenizer, self._vocabulary = tokenizer, vocabulary

    @cached_property
    def texts(self) -> dict[int, str]:
        """Token id -> its text."""
        special = set(self.tokenizer.all_special_ids)
        spell = self.tokenizer.convert_tokens_to_string
        return {
            number: spell([token])
            for token, number in self.tokenizer.get_vocab().items()
            if number < self._vocabulary and number not in special
        }

    @cached_property
    def _sorted(self) -> list[tuple[str, int]]:
        return sorted((text, number) for number, text in self.texts.items())

    def starting(self, beginning: str) -> Iterator[tuple[str, int]]:
        """(text, token id) of the tokens whose text starts with `beginning`."""
        first = bisect_left(self._sorted, (beginning, -1))
        for index in range(first, len(self._sorted)):
            if not self._sorted[index][0].startswith(beginning):
                return
            yield self._sorted[index]

    def exact(self, text: str) -> list[int]:
        """Ids of the tokens with exactly this text."""
        return [number for _, number in takewhile(lambda entry: entry[0] == text, self.starting(text))]

    def encode(self, text: str) -> Path:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def length(self, path: Path) -> int:
        return sum(len(self.texts.get(token, "")) for token in path)

    def head(self, opening: str, candidates: Sequence[str]) -> tuple[Path, str]:
        """The tokens at the start of `opening` that are the same before every candidate, and the rest of `opening`,
        which a token may join to a candidate (often "" or " ")."""
        paths = [self.encode(opening + candidate) for candidate in candidates]
        shared = [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*paths, strict=False))]
        ends = accumulate(len(self.texts.get(token, "")) for token in shared)
        count = sum(1 for _ in takewhile(lambda end: end <= len(opening), ends))
        head = tuple(shared[:count])
        return head, opening[self.length(head) :]


@dataclass(frozen=True)
class TokenTree:
    """The beginnings of candidates as nodes. Node 0 is the text before them.

    tokens, parents, depths   of each node: its last token, its parent, how many tokens it has
    nodes, nexts, candidates  parallel: at this node this next token completes the candidate of this index
    count                     how many candidates there are
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    nodes: tuple[int, ...]
    nexts: tuple[int, ...]
    candidates: tuple[int, ...]
    count: int


def grow(spelling: Spelling, before: str, tail: str, candidates: Sequence[str]) -> TokenTree:
    """The tree of `tail` followed by each candidate, in the context of the text `before`."""
    paths: set[Path] = {()}
    for candidate in candidates:
        paths |= _beginnings(spelling, before, tail + candidate)
    order = sorted(paths, key=lambda path: (len(path), path))
    index = {path: number for number, path in enumerate(order)}
    completing = [
        (index[path], token, number)
        for path in order
        for number, candidate in enumerate(candidates)
        for token in _completing(spelling, path, tail + candidate)
    ]
    nodes, nexts, found = zip(*completing, strict=True) if completing else ((), (), ())
    return TokenTree(
        tokens=tuple(path[-1] if path else 0 for path in order),
        parents=tuple(index[path[:-1]] for path in order),
        depths=tuple(map(len, order)),
        nodes=nodes,
        nexts=nexts,
        candidates=found,
        count=len(candidates),
    )


def _beginnings(spelling: Spelling, before: str, text: str) -> set[Path]:
    """All token sequences that may come before the last token of `text`."""
    if len(text) > SHORT:
        head, tail = spelling.head(before, [text])
        path = spelling.encode(before + text)[len(head) :] if not tail else ()
        return {()} | {path[:n] for n in range(len(path)) if spelling.length(path[:n]) < len(text)}
    found: set[Path] = set()
    waiting: list[tuple[Path, str]] = [((), text)]
    while waiting:
        path, rest = waiting.pop()
        found.add(path)
        for end in range(1, len(rest)):
            waiting += [((*path, token), rest[end:]) for token in spelling.exact(rest[:end])]
    return found


def _completing(spelling: Spelling, path: Path, text: str) -> list[int]:
    said = "".join(spelling.texts[token] for token in path)
    if len(said) >= len(text) or not text.startswith(said):
        return []
    return [token for _, token in spelling.starting(text[len(said) :])]
