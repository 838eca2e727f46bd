"""Every picture is opened whole before the first step; one that cannot be used is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.images import check_images


def with_image(row: Sample, path: Path) -> Sample:
    images: Mapping[str, Path] = {**row.images, "image": path}
    return replace(row, images=images)


def test_good_rows_pass_and_sizes_are_those_of_the_files(small_rows: list[Sample]) -> None:
    found = check_images(small_rows)
    assert set(found.values()) == {(192, 128), (128, 192)}


def test_a_picture_that_is_not_there_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    missing = tmp_path / "gone.png"
    with pytest.raises(QInsightError, match=r"gone\.png is not there"):
        check_images([*small_rows[:3], with_image(small_rows[0], missing)])


def test_a_picture_that_ends_too_soon_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    torn = tmp_path / "torn.png"
    content = small_rows[0].images["image"].read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    with pytest.raises(QInsightError, match=r"torn\.png cannot be used") as caught:
        check_images([with_image(small_rows[0], torn)])
    assert "\n" not in str(caught.value)
