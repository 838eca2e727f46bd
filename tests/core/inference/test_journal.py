"""A journal cut, filled to the brim, shared, or begun otherwise."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.journal import Journal, journal_path

SETTINGS = {"model": {"name": "m", "dtype": "float32"}, "seed": 0}
RECORDS = [{f"k{i}": {"text": "é\n" * i}, f"k{i}b": {"n": i}} for i in range(4)]


def filled(path: Path) -> str:
    with Journal(str(path), SETTINGS) as journal:
        for batch in RECORDS:
            journal.append(batch)
    return str(path)


@pytest.fixture(scope="module")
def whole_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled journal to copy from; do not write to it."""
    return Path(filled(tmp_path_factory.mktemp("whole") / "j"))


def contents(journal: Journal) -> dict[str, Any]:
    return {key: journal[key] for batch in RECORDS for key in batch if key in journal}


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = filled(tmp_path / "j")
    everything = {key: record for batch in RECORDS for key, record in batch.items()}
    with Journal(path, SETTINGS) as journal:
        assert contents(journal) == everything
        assert len(journal) == 8
        assert "other" not in journal
        journal.append({"other": {}})
        assert journal["other"] == {}
    assert journal_path("out.csv") == "out.csv.journal.jsonl"


@settings(max_examples=150, deadline=None)
@given(cut=st.floats(0, 1), junk=st.sampled_from([b"", b"\0\0\0", b'{"key": "x", "rec', b"\0\0\n", b"[1]\n", b"{}\n"]))
def test_cut_at_any_byte_it_goes_on_from_the_last_whole_line(whole_journal: Path, cut: float, junk: bytes) -> None:
    path = whole_journal.with_name("cut")
    data = whole_journal.read_bytes()
    place = round(cut * len(data))
    header = data.index(b"\n") + 1
    if place < header:
        junk = b""  # a torn header stands alone
    whole = data[:place].count(b"\n")
    path.write_bytes(data[:place] + junk)
    with Journal(str(path), SETTINGS) as journal:
        assert len(journal) == max(0, whole - 1)
        missing = [{k: v for k, v in batch.items() if k not in journal} for batch in RECORDS]
        for batch in missing:
            journal.append(batch)
    assert path.read_bytes() == data


def test_changed_settings_are_named_old_and_new(tmp_path: Path) -> None:
    path = filled(tmp_path / "j")
    before = (tmp_path / "j").read_bytes()
    other = {"model": {"name": "m", "dtype": "bfloat16"}, "seed": 0, "extra": 1}
    with pytest.raises(QInsightError) as caught:
        Journal(path, other)
    message = str(caught.value)
    assert "model.dtype float32 -> bfloat16" in message
    assert "extra (none) -> 1" in message
    assert "seed" not in message
    assert "--restart" in message
    assert (tmp_path / "j").read_bytes() == before
    with Journal(path, other, restart=True) as journal:
        assert len(journal) == 0
    with Journal(path, other) as journal:
        assert len(journal) == 0


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"no line end", b'{"qinsight_journal": 1, "settings": 5}\n'])
def test_another_file_is_not_taken_for_a_journal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(QInsightError, match="is not a journal"):
        Journal(str(tmp_path / "j"), SETTINGS)
    assert (tmp_path / "j").read_bytes() == content


def test_two_processes_cannot_share_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "j")
    words = f"from qinsight_cli.core.inference.journal import Journal; Journal({path!r}, {SETTINGS!r})"
    with Journal(path, SETTINGS):
        done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
        assert "another qinsight is writing" in done.stderr
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_a_full_or_failing_disk_is_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = filled(tmp_path / "j")
    before = (tmp_path / "j").read_bytes()
    with Journal(path, SETTINGS) as journal:
        real = os.write

        def fail(descriptor: int, data: bytes = b"") -> int:
            if data:
                real(descriptor, data[:7])  # the disk takes a little before it is full
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(QInsightError, match=os.strerror(code)):
                journal.append({"new": {"a": 1}})
        assert "new" not in journal
        assert (tmp_path / "j").read_bytes() == before
        journal.append({"new": {"a": 1}})
    with Journal(path, SETTINGS) as journal:
        assert journal["new"] == {"a": 1}
        assert len(journal) == 9


def test_every_line_is_json(tmp_path: Path) -> None:
    filled(tmp_path / "j")
    header, *lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert header["settings"] == {"model.name": "m", "model.dtype": "float32", "seed": 0}
    assert [line["key"] for line in lines] == [key for batch in RECORDS for key in batch]


def test_discard_removes_it(tmp_path: Path) -> None:
    with Journal(filled(tmp_path / "j"), SETTINGS) as journal:
        journal.discard()
        journal.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"no line end", b"\x89PNG\r\n\x1a\n"])
def test_restart_empties_only_a_journal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(QInsightError, match="is not a journal"):
        Journal(str(tmp_path / "j"), SETTINGS, restart=True)
    assert (tmp_path / "j").read_bytes() == content


def test_a_link_in_the_place_of_the_journal_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"")
    (tmp_path / "j").symlink_to(target)
    for restart in (False, True):
        with pytest.raises(QInsightError, match="is a link, which is not followed"):
            Journal(str(tmp_path / "j"), SETTINGS, restart)
    assert target.read_bytes() == b""


DEEP = b"[" * 100_000
LINES = [b'{"key": 5, "record": {}}', b'{"key": "a"}', b'{"key": "a", "record": []}', b"[]", b"5", b"null", DEEP]


@pytest.mark.parametrize("line", [*LINES, b'{"key": "a", "record": ' + DEEP, b'{"key": ["a"], "record": {}}'])
def test_a_line_that_is_no_result_ends_what_is_read(tmp_path: Path, line: bytes) -> None:
    path = filled(tmp_path / "j")
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole + line + b"\n")
    with Journal(path, SETTINGS) as journal:
        assert len(journal) == 8
    assert (tmp_path / "j").read_bytes() == whole


@pytest.mark.parametrize("settings_line", [DEEP, b"5}", b'{"a": ' + DEEP])
def test_a_header_that_is_none_of_ours_is_one_line(tmp_path: Path, settings_line: bytes) -> None:
    (tmp_path / "j").write_bytes(b'{"qinsight_journal": 1, "settings": ' + settings_line + b"\n")
    with pytest.raises(QInsightError, match="is not a journal"):
        Journal(str(tmp_path / "j"), SETTINGS)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_journal_or_one_line(whole_journal: Path, data: bytes, headed: bool) -> None:
    path = whole_journal.with_name("any")
    path.write_bytes((whole_journal.read_bytes() if headed else b"") + data)
    with nullcontext() if headed else suppress(QInsightError), Journal(str(path), SETTINGS) as journal:
        assert len(contents(journal)) == (8 if headed else 0)
