"""The processor of a model folder: its tokenizer, its chat template, and how it resizes pictures.

No remote code runs. Pictures always go through Pillow: a machine with torchvision gives the same pixels as one without.
"""

from __future__ import annotations

import ctypes
import json
import threading
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import first_line

TEMPLATE_SECONDS = 20.0
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))  # one of these sets is required


def load_processor(folder: Path, max_pixels: int | None = None) -> Any:
    """The Qwen2.5-VL processor of a model folder, on Pillow, padding on the left."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from qinsight_cli.core.models.conv_tower import register

    register()
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        # transformers would use an empty tokenizer instead.
        raise QInsightError(f"{folder}: its processor cannot be read: there is no tokenizer.json")
    try:
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, padding_side="left"
        )
    except Exception as error:  # transformers and tokenizers raise almost anything on invalid files
        raise QInsightError(f"{folder}: its processor cannot be read: {first_line(error)}") from error
    if max_pixels is not None:
        smallest = (images.patch_size * images.merge_size) ** 2
        if max_pixels < smallest:
            raise QInsightError(f"--max-pixels {max_pixels} is below {smallest}, one token of this model")
        images.size = {"shortest_edge": min(images.size["shortest_edge"], max_pixels), "longest_edge": max_pixels}
    template = _chat_template(folder, tokenizer)
    _try_template(folder, tokenizer, template)
    return make_processor(images, tokenizer, template)


def make_processor(image_processor: Any, tokenizer: Any, chat_template: str) -> Any:
    """transformers' Qwen2_5_VLProcessor without its video half, which cannot be built without torchvision."""
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor as WithVideo
    from transformers.processing_utils import ProcessorMixin

    class Qwen2_5_VLProcessor(WithVideo):  # the name is saved with the processor
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any):
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

        def save_pretrained(self, save_directory: Any, **settings: Any) -> Any:
            saved = super().save_pretrained(save_directory, **settings)
            # Without this entry the folder would not load where torchvision is installed.
            path = Path(save_directory) / "processor_config.json"
            content = json.loads(path.read_text())
            content.setdefault("video_processor", {"video_processor_type": "Qwen2VLVideoProcessor"})
            path.write_text(json.dumps(content, indent=2) + "\n")
            return saved

    return Qwen2_5_VLProcessor(image_processor=image_processor, tokenizer=tokenizer, chat_template=chat_template)


def _chat_template(folder: Path, tokenizer: Any) -> str:
    """The chat template, from any of the files in which versions of transformers keep it."""
    template = tokenizer.chat_template
    try:
        if (folder / "chat_template.jinja").is_file():
            template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        elif (folder / "chat_template.json").is_file():
            template = json.loads((folder / "chat_template.json").read_text(encoding="utf-8"))["chat_template"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise QInsightError(f"{folder}: its chat template cannot be read: {type(error).__name__}: {error}") from error
    if template and not isinstance(template, str):
        raise QInsightError(f"{folder}: its chat template is not text")
    if template:
        return template
    raise QInsightError(f"{folder} has no chat template (chat_template.jinja or chat_template.json)")


def _try_template(folder: Path, tokenizer: Any, template: str) -> None:
    """Raise QInsightError for a chat template that fails on a short conversation, or takes too long. It is then
    stopped, or it would take half of this process's time for as long as it runs."""
    messages = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Rate it."}]},
    ]
    failures: list[BaseException] = []

    def render() -> None:
        try:
            tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        except (Exception, SystemExit) as error:
            failures.append(error)

    thread = threading.Thread(target=render, name="qinsight-template", daemon=True)
    thread.start()
    thread.join(TEMPLATE_SECONDS)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        raise QInsightError(f"{folder}: its chat template does not end within {TEMPLATE_SECONDS:g} seconds")
    if failures:
        raise QInsightError(f"{folder}: its chat template cannot be used: {first_line(failures[0])}")


def pixel_limits(processor: Any) -> dict[str, int]:
    size = processor.image_processor.size
    return {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
