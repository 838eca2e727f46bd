"""The table on a terminal: what is shown, and what cannot be done to the terminal."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from qinsight_cli.core.report.tables import bar, first_sentence, make_table, printable
from qinsight_cli.core.tasks import TASKS


def shown(columns: tuple[str, ...], rows: list[dict[str, Any]], **options: Any) -> str:
    console = Console(width=150, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(make_table(columns, rows, **options))
    return console.export_text(styles=True)


def row(path: str, rating: str | None, reasoning: str = "", error: str | None = None) -> dict[str, Any]:
    value = None if rating is None else Decimal(rating)
    return {"path": path, "rating": value, "rating_std": None, "samples": 1, "reasoning": reasoning, "error": error}


def test_good_and_bad_are_seen() -> None:
    text = shown(
        TASKS["score"].row_columns, [row("good.jpg", "4.60", "Sharp. And bright."), row("bad.jpg", "1.20", "Blurred.")]
    )
    good, bad = (next(line for line in text.splitlines() if name in line) for name in ("good.jpg", "bad.jpg"))
    assert good.count("█") > bad.count("█")
    assert "\x1b[32m4.60" in good
    assert "\x1b[31m1.20" in bad
    assert "And bright" not in text
    assert "And bright" in shown(
        TASKS["score"].row_columns, [row("good.jpg", "4.60", "Sharp. And bright.")], show_reasoning=True
    )


def test_empty_columns_are_left_out_and_errors_stand_in_red() -> None:
    text = shown(TASKS["score"].row_columns, [row("a.jpg", None, error="no such file")])
    assert "rating_std" not in text
    assert "samples" not in text
    assert "\x1b[31mno such file" in text
    spread = row("a.jpg", "3.333") | {"rating_std": Decimal("0.100"), "samples": 3}
    assert "0.100" in shown(TASKS["score"].row_columns, [spread])


def test_markup_in_names_is_only_text() -> None:
    assert "[red]a[/red].jpg" in shown(TASKS["score"].row_columns, [row("[red]a[/red].jpg", "3.00")])


@pytest.mark.parametrize(("rating", "filled"), [(1, 0), (3, 4), (5, 8), (4.99, 8), (1.2, 0)])
def test_bar(rating: float, filled: int) -> None:
    assert bar(rating) == "█" * filled + "░" * (8 - filled)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", "One."),
        ("Is it? Yes.", "Is it?"),
        ("Rated 3.5 of 5. Good.", "Rated 3.5 of 5."),
        ("no\nend", "no end"),
        ("", ""),
        ("x" * 200, "x" * 159 + "…"),
    ],
)
def test_first_sentence(text: str, expected: str) -> None:
    assert first_sentence(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\udcff", "\\udcff"),
        ("ü 写真 👩\u200d🚀", "ü 写真 👩\u200d🚀"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters()))
def test_nothing_that_moves_a_terminal_gets_through(text: str) -> None:
    left = {unicodedata.category(char) for char in printable(text)} - {"Cf"}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(printable(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
