"""Text files in any encoding that says which it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from qinsight_cli.core import encodings
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


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device that never ends")
def test_what_never_ends_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from qinsight_cli.core.data.table_files import read_table
    from qinsight_cli.core.images.find import find_images

    monkeypatch.setattr(encodings, "MOST_BYTES", 10_000)
    for read in (encodings.read_text, read_table):
        with pytest.raises(QInsightError, match=r"/dev/zero has over 10,000 bytes"):
            read(Path("/dev/zero"))
    with open("/dev/zero", "rb") as stdin, pytest.raises(QInsightError, match="the list on standard input has over"):
        find_images(["-"], stdin)
