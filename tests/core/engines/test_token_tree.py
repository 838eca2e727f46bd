"""The tree of tokens for tokenizers that part digits, join them, and join spaces."""

from __future__ import annotations

from typing import Any

from qinsight_cli.core.engines.token_tree import Spelling, TokenTree, grow


class Tokens:
    """A tokenizer of the given tokens that takes the longest one that fits."""

    all_special_ids = (0,)

    def __init__(self, *tokens: str) -> None:
        self.tokens = ("<end>", *tokens)

    def get_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        found = []
        while text:
            token = max((token for token in self.tokens[1:] if text.startswith(token)), key=len)
            found.append(self.tokens.index(token))
            text = text[len(token) :]
        return found


def shown(tokenizer: Tokens, tree: TokenTree) -> tuple[set[str], set[tuple[str, str, int]]]:
    """The nodes as texts, tokens parted by |, and for each what completes a candidate."""

    def path(node: int) -> str:
        return "" if node == 0 else f"{path(tree.parents[node])}{tokenizer.tokens[tree.tokens[node]]}|"

    nodes = {path(node) for node in range(len(tree.tokens))}
    completing = zip(tree.nodes, tree.nexts, tree.candidates, strict=True)
    return nodes, {(path(node), tokenizer.tokens[token], number) for node, token, number in completing}


def tree_of(tokenizer: Any, tail: str, *candidates: str) -> tuple[set[str], set[tuple[str, str, int]]]:
    return shown(tokenizer, grow(Spelling(tokenizer, len(tokenizer.tokens)), "", tail, candidates))


def test_digits_alone() -> None:
    nodes, completing = tree_of(Tokens(*"0123456789.", "}", "<end>3"), "", "3.4", "3.5", "4.0", "4}")
    assert nodes == {"", "3|", "3|.|", "4|", "4|.|"}
    assert completing == {("3|.|", "4", 0), ("3|.|", "5", 1), ("4|.|", "0", 2), ("4|", "}", 3)}


def test_joined_digits_in_every_spelling() -> None:
    nodes, completing = tree_of(Tokens(*"345.", ".4", ".42", "3.", "3.4", "42", "34"), "", "3.4", "3.5")
    assert nodes == {"", "3|", "3|.|", "3.|"}
    assert completing == {
        ("", "3.4", 0),
        ("3|", ".4", 0),
        ("3|", ".42", 0),
        *((node, token, 0) for node in ("3|.|", "3.|") for token in ("4", "42")),
        *((node, "5", 1) for node in ("3|.|", "3.|")),
    }


def test_a_space_before_a_number_may_be_joined_to_it() -> None:
    tokenizer = Tokens(*" 34.:", " 3", ": ")
    spelling = Spelling(tokenizer, len(tokenizer.tokens))
    head, tail = spelling.head(":. ", ["3.4", "4.3"])
    assert ([tokenizer.tokens[token] for token in head], tail) == ([":", "."], " ")
    nodes, completing = tree_of(tokenizer, " ", "3.4")
    assert nodes == {"", " |", " 3|", " |3|", " 3|.|", " |3|.|"}
    assert completing == {(" 3|.|", "4", 0), (" |3|.|", "4", 0)}


def test_long_words_only_as_they_are_spelled() -> None:
    tokenizer = Tokens(*"compresin", "compress", "ion", "sion", '"', '"}')
    nodes, completing = tree_of(tokenizer, "", 'compression"')
    assert nodes == {"", "compress|", "compress|ion|"}
    assert completing == {("compress|ion|", '"', 0), ("compress|ion|", '"}', 0)}


def test_tokens_that_the_network_does_not_know_and_special_ones_spell_nothing() -> None:
    tokenizer = Tokens("1", "2")
    assert Spelling(tokenizer, 2).texts == {1: "1"}
