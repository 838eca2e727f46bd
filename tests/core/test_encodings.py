"""Text files in any encoding that says which it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from qinsight_cli.core.encodings import decode, read_text
from qinsight_cli.core.errors import QInsightError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_as_its_mark_says(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes("é\r\n\u2028".encode(encoding))
    assert read_text(tmp_path / "t") == "é\r\n\u2028"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a\né".encode("cp1252"), r"^list is not text in UTF-8 \(byte 0xe9 in line 2\); save it as UTF-8$"),
        ("ab".encode("utf-16-le"), r"^list is not text in UTF-8 \(it holds NUL bytes\)"),
        (b"\xff\xfea", r"^list is not text in UTF-16 \(byte"),
    ],
)
def test_other_bytes_are_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(QInsightError, match=words):
        decode(data, "list")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match=r"cannot read .*gone: No such file"):
        read_text(tmp_path / "gone")
