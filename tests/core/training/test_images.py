"""Every picture is looked at before the first step; one that cannot be used, or is not what was prepared, is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training import images
from qinsight_cli.core.training.images import check_images


def with_image(row: Sample, path: Path) -> Sample:
    """The row with another picture, of which nothing is known."""
    images: Mapping[str, Path] = {**row.images, "image": path}
    return replace(row, images=images, files={})


def test_good_rows_pass_and_sizes_are_those_of_the_files(small_rows: list[Sample]) -> None:
    found = check_images(small_rows)
    assert set(found.values()) == {(192, 128), (128, 192)}
    assert check_images([replace(row, files={}) for row in small_rows]) == found


def test_a_picture_that_is_not_there_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    missing = tmp_path / "gone.png"
    with pytest.raises(QInsightError, match=r"gone\.png is missing; restore it"):
        check_images([*small_rows[:3], with_image(small_rows[0], missing)])


def test_a_picture_that_ends_too_soon_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    torn = tmp_path / "torn.png"
    content = small_rows[0].images["image"].read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    with pytest.raises(QInsightError, match=r"torn\.png cannot be used") as caught:
        check_images([with_image(small_rows[0], torn)])
    assert "\n" not in str(caught.value)


def test_a_picture_that_has_changed_since_it_was_prepared_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    row = next(row for row in small_rows if row.task == "score")
    copy = tmp_path / "copy.png"
    copy.write_bytes(row.images["image"].read_bytes())
    assert check_images([replace(row, images={"image": copy})])
    with Image.open(copy) as image:
        changed = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    changed.save(copy)
    with pytest.raises(QInsightError, match=r"copy\.png has changed since its dataset was prepared"):
        check_images([replace(row, images={"image": copy})])


def test_pictures_with_known_facts_are_not_decoded(small_rows: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(data: bytes, name: str) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "decode_image", never)
    found = check_images(small_rows)
    for row in small_rows:
        for role, facts in row.files.items():
            assert found[row.images[role]] == (facts.width, facts.height)
    with pytest.raises(AssertionError, match="decoded"):
        check_images([replace(small_rows[0], files={})])


def test_a_strip_is_named_as_score_names_it(small_rows: list[Sample], tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    Image.new("RGB", (2, 450)).save(strip)
    with pytest.raises(QInsightError, match=r"strip\.png cannot be used: 2 x 450 pixels: one side is over 200 times"):
        check_images([with_image(small_rows[0], strip)])
    Image.new("RGB", (2, 400)).save(strip)
    assert check_images([with_image(small_rows[0], strip)])[strip] == (2, 400)
