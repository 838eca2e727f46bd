"""Our pictures against those of qwen-vl-utils, through which Qwen's and the authors' own scripts give pictures to the
model. Needs that package and a torchvision that fits torch (the extra `qwen`); skipped without."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import conversation, load_image
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.models.processor import load_processor

FACTOR, SMALLEST, LARGEST = 28, 3136, 1_003_520


@pytest.fixture(scope="module")
def utils() -> Any:
    try:
        import qwen_vl_utils
    except (ImportError, RuntimeError) as error:  # torchvision beside another build of torch raises RuntimeError
        pytest.skip(f"qwen-vl-utils cannot be imported: {error}")
    return qwen_vl_utils


def given(utils: Any, picture: str, **limits: int) -> Image.Image:
    """The picture that qwen-vl-utils gives to the processor for a message with it."""
    content = [{"type": "image", "image": picture, **limits}, {"type": "text", "text": "Rate it."}]
    (found,), videos = utils.process_vision_info([{"role": "user", "content": content}])
    assert videos is None
    return found


def test_sizes_are_those_of_smart_resize(utils: Any) -> None:
    target, draw = Target(FACTOR, SMALLEST, LARGEST), random.Random(0)
    sizes = [(draw.randint(8, 5000), draw.randint(8, 5000)) for _ in range(400)]
    for width, height in [size for size in sizes if max(size) / min(size) < 100]:
        high, wide = utils.smart_resize(height, width, FACTOR, SMALLEST, LARGEST)
        assert target.size(width, height) == (wide, high), (width, height)


@pytest.mark.parametrize("name", ["chelsea", "rocket"])
@pytest.mark.parametrize("form", ["path", "file", "base64"])
def test_pictures_are_the_same_from_any_address(utils: Any, photos: Any, tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photos(name)).save(path)
    encoded = base64.b64encode(path.read_bytes()).decode()
    address = {"path": str(path), "file": f"file://{path}", "base64": f"data:image/png;base64,{encoded}"}[form]
    for largest in (LARGEST, 40_000):
        theirs = given(utils, address, min_pixels=SMALLEST, max_pixels=largest)
        ours = Target(FACTOR, SMALLEST, largest).fit(load_image(path).image)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_the_pixels_of_the_model_are_the_same(utils: Any, random_model: Path, photos: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photos("coffee")).save(path)
    images = load_processor(random_model).image_processor
    limits = {"min_pixels": images.size["shortest_edge"], "max_pixels": images.size["longest_edge"]}
    content = [{"type": "image", "image": str(path), **limits}]
    (theirs,), _ = utils.process_vision_info([{"role": "user", "content": content}], image_patch_size=images.patch_size)
    ours = Target(images.patch_size * images.merge_size, *limits.values()).fit(load_image(path).image)
    one, other = images([ours]), images([theirs])
    assert one["image_grid_thw"].tolist() == other["image_grid_thw"].tolist()
    np.testing.assert_array_equal(one["pixel_values"], other["pixel_values"])


def test_without_the_package_sizes_are_the_same(utils: Any) -> None:
    draw, refused = random.Random(1), 0
    for _ in range(2000):
        width, height = (int(2 ** draw.uniform(0, 12)) for _ in range(2))
        limits = [draw.choice([None, int(2 ** draw.uniform(2, 22))]) for _ in range(2)]
        factor = draw.choice([28, 32])
        try:
            high, wide = utils.smart_resize(height, width, factor, *limits)
        except (AssertionError, ValueError):
            high = wide = 0
        if high and wide:
            assert conversation._size(width, height, factor, *limits) == (wide, high), (width, height, limits)
            continue
        refused += 1
        with pytest.raises(ImageError, match="cannot be resized so"):
            conversation._size(width, height, factor, *limits)
    assert 50 < refused < 1500
