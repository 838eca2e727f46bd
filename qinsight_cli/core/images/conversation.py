"""Conversations as in Qwen's model cards: their pictures are opened like any other, at the sizes that they name.

A part may have `min_pixels`, `max_pixels`, or `resized_height` and `resized_width`. If qwen-vl-utils is installed (the
extra `qwen`), its `process_vision_info` resizes; else the same rule here does.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import LONGEST_SHAPE, MAX_PIXELS, decode_image, load_image, plain

if TYPE_CHECKING:
    from PIL import Image

    Messages = Sequence[Mapping[str, Any]]

FACTOR = 28  # sides of Qwen2.5-VL's pictures are multiples of this; each such square is a token
LEAST, MOST = 4, 16_384  # default limits in tokens, those of qwen-vl-utils
SIZES = ("min_pixels", "max_pixels", "resized_height", "resized_width")


def read_conversation(messages: Messages, factor: int = FACTOR) -> tuple[list[dict[str, Any]], tuple[Image.Image, ...]]:
    """Messages -> messages for an engine, with a bare part for each picture, and the pictures in order.

    A picture is {"type": "image", "image": ...} or {"type": "image_url", "image_url": ...}: a path, file://, base64
    (data:image/...;base64,), or a PIL image. `factor` is that of the model. Nothing is downloaded. Raises QInsightError
    for http and https, for video, and for a picture or a part that cannot be used.
    """
    pictures: list[Image.Image] = []
    read: list[dict[str, Any]] = []
    for message in messages if isinstance(messages, Sequence) else [None]:
        content = message.get("content") if isinstance(message, Mapping) and "role" in message else None
        if not isinstance(content, str | list | tuple):
            raise QInsightError("messages are a list of {'role': ..., 'content': ...}; content is a text or a list")
        parts = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                parts.append({"type": "text", "text": part["text"]})
                continue
            try:
                pictures.append(_picture(part, factor))
            except ImageError as error:
                raise QInsightError(f"picture {len(pictures) + 1} of the messages: {error}") from None
            parts.append({"type": "image"})
        read.append({"role": message["role"], "content": parts})
    if not pictures:
        raise QInsightError("the messages hold no picture")
    return read, tuple(pictures)


def _picture(part: Any, factor: int) -> Image.Image:
    if not isinstance(part, Mapping) or not ("image" in part or "image_url" in part):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise QInsightError(f"a part of the messages is neither text nor a picture, but {kind}")
    source = part["image"] if "image" in part else part["image_url"]
    if isinstance(source, Mapping):  # as OpenAI-compatible servers take it
        source = source.get("url")
    picture = _opened(source)
    sizes = {name: part[name] for name in SIZES if part.get(name) is not None}
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise QInsightError(f"{name} of a picture is {size!r}; it must be a number of pixels")
    return _resized(picture, sizes, factor) if sizes else picture


def _opened(source: Any) -> Image.Image:
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise ImageError("an address, not a file; save the picture first")
    if isinstance(source, str) and source.startswith("data:"):
        _, comma, encoded = source.partition(";base64,")
        try:
            data = base64.b64decode(encoded, validate=True) if comma else b""
        except (binascii.Error, ValueError):
            data = b""
        if not data:
            raise ImageError("data: without base64 that can be read")
        return decode_image(data)[0]
    if hasattr(source, "convert"):
        return plain(source, MAX_PIXELS)[0].convert("RGB")
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        raise ImageError(f"a {type(source).__name__} is no picture: give a path, base64 or a PIL image")
    return load_image(source.removeprefix("file://")).image


def _resized(picture: Image.Image, sizes: Mapping[str, int], factor: int) -> Image.Image:
    try:
        import qwen_vl_utils
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision that does not fit torch
        return _by_the_same_rule(picture, sizes, factor)
    message = {"role": "user", "content": [{"type": "image", "image": picture, **sizes}]}
    try:
        (found,), _ = qwen_vl_utils.process_vision_info([message], image_patch_size=factor // 2)
    except (AssertionError, ValueError) as error:
        raise ImageError(f"cannot be resized so: {' '.join(str(error).split())}") from None
    return found


def _by_the_same_rule(picture: Image.Image, sizes: Mapping[str, int], factor: int) -> Image.Image:
    from PIL import Image

    if "resized_height" in sizes and "resized_width" in sizes:
        size = _size(sizes["resized_width"], sizes["resized_height"], factor)
    else:
        size = _size(*picture.size, factor, sizes.get("min_pixels"), sizes.get("max_pixels"))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _size(width: int, height: int, factor: int, least: int | None = None, most: int | None = None) -> tuple[int, int]:
    """(width, height) as `smart_resize` of qwen-vl-utils has them. A side is at least `factor` before areas are
    compared, where the processor's rule (`Target`) has that after; they differ for strips and specks alone."""
    area = factor * factor
    least, most = LEAST * area if least is None else least, MOST * area if most is None else most
    if least > most:
        raise ImageError(f"cannot be resized so: min_pixels {least} is over max_pixels {most}")
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise ImageError(f"cannot be resized so: one side is over {LONGEST_SHAPE} times the other")
    wide, high = max(factor, round(width / factor) * factor), max(factor, round(height / factor) * factor)
    if wide * high > most:
        shrink = math.sqrt(height * width / most)
        wide, high = math.floor(width / shrink / factor) * factor, math.floor(height / shrink / factor) * factor
    elif wide * high < least:
        grow = math.sqrt(least / (height * width))
        wide, high = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    if not wide or not high:
        raise ImageError(f"cannot be resized so: max_pixels {most} leaves no square of {factor} pixels; give more")
    return wide, high
