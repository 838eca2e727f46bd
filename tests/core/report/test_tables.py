"""The table on a terminal: what is shown, and what cannot be done to the terminal."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from qinsight_cli.core.report.tables import INDENT, bar, folded, make_table, printable
from qinsight_cli.core.tasks import TASKS


def shown(columns: tuple[str, ...], rows: list[dict[str, Any]], width: int = 150, **options: Any) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(make_table(columns, rows, width=width, **options))
    return console.export_text(styles=True)


def row(path: str, rating: str | None, reasoning: str = "", error: str | None = None) -> dict[str, Any]:
    value = None if rating is None else Decimal(rating)
    told = {"verdict": reasoning.partition(" ")[0] if error is None else None, "reasoning": reasoning, "error": error}
    return {"path": path, "rating": value, "rating_std": None, "samples": 1, **told}


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


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_width_shows_name_rating_and_verdict(width: int) -> None:
    long = row("a/long/folder/of/pictures/from/2024/img_20240817_181203.jpg", "2.50")
    long |= {"verdict": "serious noise, poor quality", "rating_std": Decimal("0.612")}
    lines = shown(TASKS["score"].row_columns, [long], width=width).splitlines()
    plain = [Text.from_ansi(line).plain for line in lines]
    assert max(map(len, plain)) <= width
    header = next(line for line in plain if "path" in line)
    starts = [header.index(name) for name in header.split()]
    below = plain[plain.index(header) + 2 :]
    spans = zip(starts, [*starts[1:], width], strict=True)
    joined = ["".join(line[start:end].strip() for line in below) for start, end in spans]
    assert joined[0] == long["path"]
    assert joined[1].startswith("2.50")
    assert ("█" in joined[1]) == (width >= 80)
    assert ("0.612" in joined) == (width >= 100)
    assert joined[-1].replace(" ", "") == "seriousnoise,poorquality"


@pytest.mark.parametrize("width", [60, 64, 70, 79])
def test_a_narrow_table_keeps_the_verdict_and_leaves_out_how_sure_an_answer_is(width: int) -> None:
    sure = {"probability": 0.93, "severity_probability": 0.51}
    damage = {"path": "photos/cat.jpg", "distortion": "darken", "severity": "slight", "error": None, **sure}
    compared = {"image_a": "photos/cat.jpg", "image_b": "photos/cup.jpg", "reference": "photos/low.jpg", "error": None}
    compared |= {"winner": "Image A", "agreement": "agree", **sure}
    for columns, answer in (
        (("path", "distortion", *sure, "severity", "verdict", "error"), damage),
        (("image_a", "image_b", "reference", "winner", "probability", "verdict", "error", "agreement"), compared),
    ):
        told = "".join(shown(columns, [{**answer, "verdict": "telling words"}], width=width).split())
        assert "telling" in told
        assert "words" in told
        assert "probability" not in told
    wide = shown(("path", "probability", "verdict", "error"), [{**damage, "verdict": "x"}], width=120)
    assert "probability" in wide


def test_names_break_after_separators() -> None:
    assert folded("photos/cat-blur.jpg", 19) == ["photos/cat-blur.jpg"]
    assert folded("photos/cat-blur.jpg", 14) == ["photos/cat-", "  blur.jpg"]
    assert folded("abcdefghij", 6) == ["abcd", "  efgh", "  ij"]


@given(st.text(st.sampled_from("ab/-_. 写é"), max_size=60), st.integers(6, 30))
def test_a_folded_name_is_whole_and_fits(name: str, width: int) -> None:
    first, *rest = folded(name, width)
    assert all(line.startswith(INDENT) for line in rest)
    assert first + "".join(line.removeprefix(INDENT) for line in rest) == name
    assert all(Text(line).cell_len <= width for line in (first, *rest))


@pytest.mark.parametrize(("rating", "filled"), [(1, 0), (3, 4), (5, 8), (4.99, 8), (1.2, 0)])
def test_bar(rating: float, filled: int) -> None:
    assert bar(rating) == "█" * filled + "░" * (8 - filled)


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
