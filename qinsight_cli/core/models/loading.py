"""The weights and the processor of a model, ready to answer.

No remote code. Pictures go through Pillow whether torchvision is there or not, so a machine with torchvision gives the
same pixels as one without.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import first_line, locate, other_digests, weights_digest

LARGEST_SIZE, MOST_LAYERS = 1 << 32, 1024  # of the numbers in a configuration
TEMPLATE_SECONDS = 20.0
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))  # one set of these must be there


@dataclass(frozen=True)
class Model:
    """Loaded weights with their processor. `identity` is what a journal records of them."""

    network: Any
    processor: Any
    identity: dict[str, Any]


def load_model(name: str, device: str = "auto", dtype: str = "auto", max_pixels: int | None = None) -> Model:
    """Weights and processor of a model, ready to answer.

    device      auto (cuda, then mps, then cpu) or anything torch.device reads
    dtype       auto (bfloat16 on cuda, else float32), float32, float16 or bfloat16
    max_pixels  larger pictures are scaled down to this area; None keeps the model's own limit
    Raises QInsightError when the name, the folder or the device is wrong.
    """
    folder = locate(name)
    where = torch_device(device)
    precision = torch_dtype(dtype, where)
    processor = load_processor(folder, max_pixels)
    network = load_network(folder, precision).to(where).eval()
    identity = {
        "model": name,
        "weights": weights_digest(folder),
        "dtype": str(precision).removeprefix("torch."),
        **pixel_limits(processor),
        "files": other_digests(folder),
    }
    return Model(network, processor, identity)


def load_network(folder: Path, precision: Any) -> Any:
    """The network of a model folder that `locate` gave, on the CPU in the given torch dtype, whatever the dtype of its
    files. Every weight must be there; raises QInsightError if not."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    from qinsight_cli.core.models.conv_tower import register

    register()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on a configuration that is none
        raise QInsightError(f"{folder / 'config.json'} cannot be read: {first_line(error)}") from error
    _check_size(folder, config)
    try:
        with _quiet():
            network, report = AutoModelForImageTextToText.from_pretrained(
                folder,
                config=config,
                dtype=precision,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # also ImportError, for a quantised model whose package is not there
        raise QInsightError(f"{folder}: the weights cannot be loaded: {first_line(error)}") from error
    if report["missing_keys"]:
        # transformers would go on with random numbers in their place.
        first = min(report["missing_keys"])
        raise QInsightError(
            f"{folder}: {len(report['missing_keys'])} weights are missing from its files, {first} first"
        )
    embedding = getattr(network.model.visual, "patch_embed", None)
    if embedding is not None:
        embedding.forward = MethodType(_embed_patches, embedding)
    return network


def _embed_patches(embedding: Any, pixels: Any) -> Any:
    """The patch embedding as the matrix product that it is: a convolution whose stride is its kernel runs slower."""
    from torch.nn.functional import linear

    weight, bias = embedding.proj.weight, embedding.proj.bias
    return linear(pixels.to(weight.dtype), weight.flatten(1), bias)


def _check_size(folder: Path, config: Any) -> None:
    """Refuse a configuration of which the network could not be built in any memory, before it is tried."""
    waiting, layers = [config.to_dict()], ("num_hidden_layers", "depth")
    while waiting:
        for key, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, int) and value > (MOST_LAYERS if key in layers else LARGEST_SIZE):
                raise QInsightError(f"{folder / 'config.json'}: {key} {value} is no size of a model")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no report of transformers, which prints the names in a file as they are."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def load_processor(folder: Path, max_pixels: int | None = None) -> Any:
    """The Qwen2.5-VL processor of a model folder, on Pillow, padding on the left."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from qinsight_cli.core.models.conv_tower import register

    register()
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        # transformers would go on with a tokenizer that knows no words.
        raise QInsightError(f"{folder}: its processor cannot be read: there is no tokenizer.json")
    try:
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, padding_side="left"
        )
    except Exception as error:  # transformers and tokenizers raise almost anything on files that are none of theirs
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
    """The chat template, from wherever this generation of transformers left it."""
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
    """Raise QInsightError for a chat template that fails, or that is not done with a short conversation in time."""
    messages = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Rate it."}]},
    ]
    failures: list[Exception] = []

    def render() -> None:
        try:
            tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=render, name="qinsight-template", daemon=True)
    thread.start()
    thread.join(TEMPLATE_SECONDS)
    if thread.is_alive():
        raise QInsightError(f"{folder}: its chat template does not end within {TEMPLATE_SECONDS:g} seconds")
    if failures:
        raise QInsightError(f"{folder}: its chat template cannot be used: {first_line(failures[0])}")


def torch_device(device: str) -> Any:
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise QInsightError(f"--device {device} cannot be used here: {first_line(error)}; try --device cpu") from error
    return where


def torch_dtype(dtype: str, device: Any) -> Any:
    import torch

    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    choices = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in choices:
        raise QInsightError(f"--dtype {dtype!r} is not one of auto, {', '.join(choices)}")
    return choices[dtype]


def pixel_limits(processor: Any) -> dict[str, int]:
    size = processor.image_processor.size
    return {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
