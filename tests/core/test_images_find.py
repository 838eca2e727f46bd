"""Which pictures a command line names: files, folders, globs, lists, and what is said when there are none."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import find_images, load_image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_a_folder_gives_its_images_recursively_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "img10.jpg", "img2.JPG", "notes.txt", "deep/er/a.png", ".hidden.jpg", ".cache/b.jpg", "phone.heic")
    found = [os.path.relpath(path, tmp_path) for path in find_images([str(tmp_path)])]
    assert found == ["deep/er/a.png", "img2.JPG", "img10.jpg", "phone.heic"]


def test_quoted_globs_also_recursive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "b.jpg", "a.jpg", "sub/c.jpg", "a.txt")
    assert find_images(["*.jpg"]) == ["a.jpg", "b.jpg"]
    assert find_images(["**/*.jpg"]) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert find_images(["*"]) == ["a.jpg", "b.jpg"]


def test_an_existing_name_with_glob_characters_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "[1].jpg", "1.jpg", "what?.png")
    assert find_images(["[1].jpg", "what?.png"]) == ["[1].jpg", "what?.png"]


def test_a_list_on_stdin_by_line_or_by_nul(tmp_path: Path) -> None:
    touch(tmp_path, "in folder/x.png")
    names = ["a b.jpg", "ü.jpg", "*.jpg", str(tmp_path / "in folder")]
    expected = ["first.jpg", *names[:3], str(tmp_path / "in folder" / "x.png")]
    assert find_images(["first.jpg", "-"], io.BytesIO("\n".join(names).encode())) == expected
    assert find_images(["first.jpg", "-"], io.BytesIO("\r\n".join(names).encode())) == expected
    with_newline = io.BytesIO(b"two\nlines.jpg\0b.jpg\0")
    assert find_images(["-"], with_newline) == ["two\nlines.jpg", "b.jpg"]


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    with open(path, "wb") as file:
        Image.new("RGB", (48, 8)).save(file, "PNG")
    (found,) = find_images(["-"], io.BytesIO(path))
    assert load_image(found).width == 48


def test_the_same_file_twice_stays_twice_and_limit_cuts(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    path = str(tmp_path / "a.jpg")
    assert find_images([path, path, "missing.jpg"]) == [path, path, "missing.jpg"]
    assert find_images([path, path, "missing.jpg"], limit=2) == [path, path]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("nowhere", "no such file or folder: nowhere"),
        ("nowhere/", "no such file or folder: nowhere/"),
        ("nowhere/*.jpg", "nothing matches nowhere/*.jpg"),
        ("notes.txt", "no such file or folder: notes.txt"),
        ("empty", "no images in the folder empty"),
    ],
)
def test_what_is_not_there_is_said(argument: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(QInsightError, match="^" + words.replace("*", r"\*")):
        find_images([argument])


def test_an_empty_list_is_said() -> None:
    with pytest.raises(QInsightError, match="no images given"):
        find_images(["-"], io.BytesIO(b"\n\n"))


def test_an_unreadable_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(QInsightError, match=r"cannot read the folder .*: Permission denied"):
        find_images([str(tmp_path)])
