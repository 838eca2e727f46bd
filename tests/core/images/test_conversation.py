"""Conversations in Qwen's form: pictures from every address, at the sizes that they ask for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import conversation, load_image

TEXT = {"type": "text", "text": "Rate it."}


@pytest.fixture
def path(tmp_path: Path, photo: Any) -> Path:
    """A photo that lies on its side, as its EXIF orientation says."""
    picture = Image.fromarray(photo)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    return tmp_path / "photo.jpg"


@pytest.fixture(params=["same rule", "qwen-vl-utils"])
def resizing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without and, where it is installed, with the package."""
    if request.param == "same rule":
        monkeypatch.setitem(__import__("sys").modules, "qwen_vl_utils", None)
        return
    try:
        import qwen_vl_utils  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"qwen-vl-utils cannot be imported: {error}")


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "You judge."}, {"role": "user", "content": [*parts]}]


def only(part: Any) -> Image.Image:
    _, (picture,) = conversation.read_conversation(user(part, TEXT))
    return picture


def test_pictures_from_every_address_are_those_of_score(path: Path) -> None:
    encoded = f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
    expected = np.asarray(load_image(path).image)
    assert expected.shape[0] > expected.shape[1], "upright"
    with Image.open(path) as opened:
        for part in (
            {"type": "image", "image": str(path)},
            {"type": "image", "image": f"file://{path}"},
            {"type": "image", "image": encoded},
            {"type": "image", "image": opened},
            {"type": "image_url", "image_url": encoded},
            {"type": "image_url", "image_url": {"url": encoded}},
        ):
            np.testing.assert_array_equal(np.asarray(only(part)), expected)


def test_the_order_of_parts_stays(path: Path) -> None:
    small = Image.new("RGB", (40, 30))
    read, pictures = conversation.read_conversation(
        user({"type": "image", "image": small}, TEXT, {"type": "image", "image": str(path)})
    )
    assert read[0] == {"role": "system", "content": [{"type": "text", "text": "You judge."}]}
    assert read[1]["content"] == [{"type": "image"}, TEXT, {"type": "image"}]
    assert [picture.size for picture in pictures] == [(40, 30), load_image(path).image.size]


@pytest.mark.usefixtures("resizing")
@pytest.mark.parametrize("factor", [28, 32])
@pytest.mark.parametrize(
    ("sizes", "height", "width", "least", "most"),
    [
        ({"max_pixels": 40_000}, 0, 0, 4, 40_000),
        ({"min_pixels": 900_000}, 0, 0, 900_000, 0),
        ({"min_pixels": 20_000, "max_pixels": 60_000}, 0, 0, 20_000, 60_000),
        ({"resized_height": 300, "resized_width": 200}, 300, 200, 0, 0),
    ],
)
def test_sizes_are_those_of_smart_resize(
    path: Path, factor: int, sizes: dict[str, int], height: int, width: int, least: int, most: int
) -> None:
    whole = load_image(path).image
    high, wide = smart_resize(
        height or whole.height, width or whole.width, factor, least or 4 * factor**2, most or 16_384 * factor**2
    )
    _, (picture,) = conversation.read_conversation(user({"image": str(path), **sizes}), factor)
    assert picture.size == (wide, high) != whole.size
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(whole.resize((wide, high), Image.Resampling.BICUBIC)))


# Sizes of qwen-vl-utils 0.0.14, read off its smart_resize.
@pytest.mark.usefixtures("resizing")
@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((276, 2), {"max_pixels": 147_493}, (280, 28)),
        ((10, 223), {"min_pixels": 17}, (28, 224)),
        ((3, 3), {"max_pixels": 90_000}, (56, 56)),
        ((900, 12), {"max_pixels": 40_000}, (896, 28)),
        ((300, 4), {"min_pixels": 3136}, (308, 28)),
    ],
)
def test_strips_and_specks(size: tuple[int, int], limits: dict[str, int], expected: tuple[int, int]) -> None:
    assert only({"image": Image.new("RGB", size), **limits}).size == expected


@pytest.mark.usefixtures("resizing")
@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((64, 64), {"min_pixels": 9000, "max_pixels": 4000}),
        ((1287, 67), {"max_pixels": 3600}),  # a side would vanish
        ((500, 2), {"max_pixels": 90_000}),
        ((64, 64), {"resized_height": 1, "resized_width": 706}),
    ],
)
def test_sizes_that_cannot_be(size: tuple[int, int], sizes: dict[str, int]) -> None:
    with pytest.raises(QInsightError, match="picture 1 of the messages: cannot be resized so"):
        only({"image": Image.new("RGB", size), **sizes})


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (user({"image": "https://example.org/a.jpg"}), "picture 1 of the messages: an address, not a file"),
        (user({"image_url": {"url": "http://example.org/a.jpg"}}), "an address, not a file"),
        (user({"image": "nowhere.jpg"}), "picture 1 of the messages: no such file"),
        (user({"image": "data:image/png;base64,@@@"}), "data: without base64"),
        (user({"image": "data:image/png,abc"}), "data: without base64"),
        (user({"image": "data:image/png;base64,AAAA"}), "not an image of a known kind"),
        (user({"image": 7}), "a int is no picture"),
        (user({"image": Image.new("RGB", (9, 9)), "max_pixels": "1000"}), "max_pixels of a picture is '1000'"),
        (user({"type": "video", "video": "a.mp4"}), "neither text nor a picture, but video"),
        (user("Rate it."), "neither text nor a picture, but str"),
        (user(TEXT), "the messages hold no picture"),
        (["Rate it."], "messages are a list of"),
    ],
)
def test_what_cannot_be_used_is_named(messages: Any, says: str) -> None:
    with pytest.raises(QInsightError, match=says):
        conversation.read_conversation(messages)
