from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.data.inspect_images import (
    ImageToInspect,
    InspectedImage,
    inspect_image,
    inspect_images,
)
from qinsight_cli.core.data.near_duplicates import difference_hash


def test_what_is_seen_of_a_picture(tmp_path: Path, draw) -> None:
    path = draw(tmp_path / "a.png", 3, (36, 32))
    seen = inspect_image(ImageToInspect(path))
    assert isinstance(seen, InspectedImage)
    assert seen.path == path
    assert seen.facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with Image.open(path) as opened:
        assert (seen.facts.width, seen.facts.height) == opened.size == (36, 32)
        assert seen.hash == difference_hash(opened)
    assert seen.measures is None


def test_sizes_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    seen = inspect_image(ImageToInspect(tmp_path / "a.jpg"))
    assert isinstance(seen, InspectedImage)
    assert (seen.facts.width, seen.facts.height) == (20, 40)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_picture_gives_its_reason(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    reason = inspect_image(ImageToInspect(tmp_path / "a.jpg"))
    assert isinstance(reason, str)
    assert "\n" not in reason


def test_a_copy_has_the_same_bytes(tmp_path: Path, draw) -> None:
    path = draw(tmp_path / "a.jpg", 3)
    seen = inspect_image(ImageToInspect(path, copy_to=tmp_path / "out/deep/a.jpg"))
    assert isinstance(seen, InspectedImage)
    assert seen.path.read_bytes() == path.read_bytes()
    assert list((tmp_path / "out/deep").iterdir()) == [seen.path]


def test_many_on_several_cores_in_order(tmp_path: Path, draw) -> None:
    jobs = [ImageToInspect(draw(tmp_path / f"{i}.png", i)) for i in range(40)]
    (tmp_path / "7.png").write_bytes(b"")
    seen: list[int] = []
    results = inspect_images(jobs, 2, lambda: seen.append(1))
    assert len(seen) == 40
    assert [i for i, result in enumerate(results) if isinstance(result, str)] == [7]
    assert [result.path for result in results if isinstance(result, InspectedImage)] == [
        j.path for i, j in enumerate(jobs) if i != 7
    ]
    assert results == inspect_images(jobs, 1, lambda: None)
