"""Which pictures a command line names: files, folders, globs, lists, and what is said when there are none."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import load_image, photos
from qinsight_cli.core.images.find import find_images


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_list_on_stdin_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    touch(tmp_path, "é.jpg", "b.jpg")
    names = [str(tmp_path / "é.jpg"), str(tmp_path / "b.jpg")]
    assert find_images(["-"], io.BytesIO("\r\n".join(names).encode(encoding))) == names


def test_a_name_that_is_no_text_is_found_as_our_csv_writes_it(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(name, "wb"):
        pass
    written = csv_line([os.fsdecode(name)]).decode().strip()
    assert find_images(["-"], io.BytesIO(written.encode())) == [os.fsdecode(name)]


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


def test_what_a_folder_holds_and_is_not_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "can_read", lambda _: False)
    touch(tmp_path, "a.jpg", "a.NEF", "b/c.cr2", "clip.MOV", "notes.txt", ".DS_Store", "b/._c.cr2", "b/list.csv")
    said: list[str] = []
    assert len(find_images([str(tmp_path)], say=said.append)) == 1
    assert said == ["not read: 2 camera raw (pip install 'qinsight[photos]' to read them), 1 video, 2 other files"]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(QInsightError, match="it holds 2 camera raw"):
        find_images([str(tmp_path)])


def test_raw_files_are_taken_from_folders_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "can_read", lambda _: True)
    touch(tmp_path, "a.jpg", "b.NEF")
    said: list[str] = []
    assert [os.path.basename(path) for path in find_images([str(tmp_path)], say=said.append)] == ["a.jpg", "b.NEF"]
    assert said == []


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "top/z/IMG_0001.jpg", "top/y/IMG_0001.jpg", "elsewhere/c.jpg")
    (tmp_path / "top" / "a").symlink_to(tmp_path / "top" / "z")  # goes by its own name, not by the link's
    (tmp_path / "top" / "z" / "ring").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top" / "nowhere").symlink_to(tmp_path / "gone")
    found = [os.path.relpath(path, tmp_path / "top") for path in find_images([str(tmp_path / "top")])]
    assert found == ["again/c.jpg", "y/IMG_0001.jpg", "z/IMG_0001.jpg"]


def test_something_missing_among_many_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "empty").mkdir()
    said: list[str] = []
    arguments = ["a.jpg", "gone", "gone/too", "*.JPG", "empty", "https://example.org/x.jpg", "b.jpg"]
    found = find_images(arguments, say=said.append)
    assert found == ["a.jpg", "gone", "gone/too", "https://example.org/x.jpg", "b.jpg"]
    assert said[0].startswith("nothing matches *.JPG")
    assert said[1].startswith("no images in the folder empty")
    with pytest.raises(ImageError, match="an address, not a file"):
        load_image("https://example.org/x.jpg")


@pytest.mark.parametrize("address", ["https://example.org/x.jpg", "http://example.org", "ftp://host/x.png"])
def test_an_address_is_one_line_that_says_no(address: str) -> None:
    with pytest.raises(QInsightError, match="is an address, not a file"):
        find_images([address])
