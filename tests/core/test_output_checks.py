"""Checks of outputs before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qinsight_cli.core.errors import QInsightError, UsageError
from qinsight_cli.core.output_checks import check_output, check_output_name


def test_outputs_that_cannot_be_are_found_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match="there is no folder"):
        check_output(str(tmp_path / "nowhere" / "out.csv"))
    with pytest.raises(QInsightError, match="it is a folder"):
        check_output(str(tmp_path))
    with pytest.raises(QInsightError, match="for standard output give -"):
        check_output(os.devnull)
    check_output(str(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "--out is empty"),
        ("  ", "--out is empty"),
        ("-x", "looks like an option"),
        ("--csv", "looks like an option"),
        ("out/--resume", "looks like an option"),
        (Path("-/x"), "looks like an option"),
        (Path("-"), "looks like an option"),
    ],
)
def test_output_names_that_are_a_slip(name: str | Path, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_output_name(name, "--out")


@pytest.mark.parametrize("name", ["a", "out/a-x", ".", "a b", Path("a-b/c--d")])
def test_output_names_that_are_none(name: str | Path) -> None:
    check_output_name(name, "--out")


@pytest.mark.parametrize("name", ["-old/out.csv", "-old/new/out.csv"])
def test_a_folder_that_is_there_may_have_any_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="looks like an option"):
        check_output_name(tmp_path / name, "--csv")
    (tmp_path / "-old").mkdir()
    check_output_name(tmp_path / name, "--csv")


def never(head: bytes) -> bool:
    return False


def test_what_is_not_ours_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG")
    with pytest.raises(QInsightError, match="--force to replace it"):
        check_output(str(path), never)
    check_output(str(path), never, force=True)
    check_output(str(path), lambda head: head == b"\x89PNG")
    check_output(str(tmp_path / "new.csv"), never)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with pytest.raises(QInsightError, match="--force to replace it"):
        check_output(str(link), never)


def test_an_input_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_bytes(b"x")
    os.link("a.csv", "hard.csv")
    Path("soft.csv").symlink_to("a.csv")
    for name in ("a.csv", "./a.csv", "hard.csv", "soft.csv", str(tmp_path / "a.csv")):
        with pytest.raises(QInsightError, match="this command reads it"):
            check_output(name, force=True, inputs=["b.csv", "a.csv"])
    with pytest.raises(QInsightError, match="this command reads it"):
        check_output("missing.csv", inputs=["sub/../missing.csv"])
    check_output("b.csv", inputs=["a.csv", "a\0b"])


@pytest.mark.parametrize("name", ["", "folder/"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(QInsightError, match="needs a name"):
        check_output(name)
