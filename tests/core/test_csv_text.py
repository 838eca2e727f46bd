from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.csv_text import csv_line, guarded, unguarded

FORMULAS = (
    *("=1+1", "+1", "-cmd", "@x", " =1", "\t=1", "\n=1", "\r\n x", "\x00=1"),
    *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\u00a0\uff1d1", "\ufeff=1", "\u3000@x", "  \t -1", "\n"),
)


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "photo-1.png", "3.5", "'quoted'", " a", "\u957f=1"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text == unguarded(text)


@given(st.text() | st.builds("{}{}".format, st.sampled_from(["", "'", "''"]), st.sampled_from(FORMULAS)))
def test_what_is_written_can_be_read_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    if "\0" not in text:  # which the csv module does not read
        (cells,) = csv.reader(io.StringIO(csv_line([text, 1, None]).decode(), newline=""))
        assert [unguarded(cells[0]), *cells[1:]] == [text, "1", ""]


def test_no_cell_of_a_line_is_a_formula() -> None:
    texts = [text for text in FORMULAS if "\0" not in text]
    (cells,) = csv.reader(io.StringIO(csv_line(texts).decode(), newline=""))
    assert cells == [f"'{text}" for text in texts]
