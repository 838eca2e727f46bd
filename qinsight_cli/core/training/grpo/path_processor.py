"""The processor of a training run: it takes paths, opens them as inference does, and computes each picture once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from qinsight_cli.core.images import load_image
from qinsight_cli.core.models.processor import make_processor


def path_processor(processor: Any, room: int) -> Any:
    """A processor like `processor` that takes paths as pictures, and keeps the tensors of the last `room` pictures.

    TRL requests the pictures of a batch twice, each time once for each completion.
    Raises ImageError for a picture that cannot be opened.
    """
    from transformers import BatchFeature

    # Not attributes: those are saved with the processor.
    opened: OrderedDict[str, Any] = OrderedDict()
    kept: dict[str, dict[str, Any]] = {}

    class Qwen2VLImageProcessorPil(type(processor.image_processor)):  # type: ignore[misc]  # the name is saved too
        def fetch_images(self, images: Any) -> Any:
            """Paths, in lists of any depth -> pictures that keep their path."""
            if isinstance(images, list | tuple):
                return [self.fetch_images(image) for image in images]
            if not isinstance(images, str):
                return images
            if images not in opened:
                opened[images] = load_image(images).image
                opened[images].info["path"] = images
            opened.move_to_end(images)
            while len(opened) > room:
                kept.pop(opened.popitem(last=False)[0], None)
            return opened[images]

        def preprocess(self, images: Any, return_tensors: Any = None, **settings: Any) -> Any:
            import numpy as np

            paths = []
            for image in _flat(images):
                paths.append(image.info["path"])
                if paths[-1] not in kept:
                    kept[paths[-1]] = dict(super().preprocess([image], **settings))
            joined = {name: np.concatenate([kept[path][name] for path in paths]) for name in kept[paths[0]]}
            for path in kept.keys() - opened.keys():
                del kept[path]
            return BatchFeature(data=joined, tensor_type=return_tensors)

    images = Qwen2VLImageProcessorPil(**_settings(processor.image_processor))
    return make_processor(images, processor.tokenizer, processor.chat_template)


def _settings(image_processor: Any) -> dict[str, Any]:
    return {name: value for name, value in image_processor.to_dict().items() if name != "image_processor_type"}


def _flat(images: Any) -> Iterator[Any]:
    if isinstance(images, list | tuple):
        for image in images:
            yield from _flat(image)
    else:
        yield images
