"""The weights and the processor of a model, ready to answer.

No remote code runs. Pictures always go through Pillow: a machine with torchvision gives the same pixels as one without.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.adapters import add, find
from qinsight_cli.core.models.memory import one_line
from qinsight_cli.core.models.names import first_line, other_digests, weights_digest
from qinsight_cli.core.models.placement import NetworkOptions, Placement, attention_of, place, torch_device, torch_dtype

LARGEST_SIZE, MOST_LAYERS = 1 << 32, 1024  # of the numbers in a configuration
PHOTO_PIXELS = 1_003_520  # 1,280 tokens of 28 x 28 pixels, the limit that Qwen recommends for such use
LARGE_WIDTH = 2048  # of the decoder
PLAIN, ON_CPU = NetworkOptions(), Placement()
TEMPLATE_SECONDS = 20.0
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))  # one of these sets is required


@dataclass(frozen=True)
class Model:
    """Loaded weights with their processor.

    `identity` is what a journal records of the model; `notes` tell the user which settings were chosen for it.
    """

    network: Any
    processor: Any
    identity: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_model(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    max_pixels: int | None = 0,
    options: NetworkOptions = PLAIN,
) -> Model:
    """Weights and processor of a model, ready to answer.

    device      auto (cuda, then mps, then cpu) or anything that torch.device reads. With auto, weights that are too
                large for one GPU are spread over all GPUs
    dtype       auto (`torch_dtype`), float32, float16 or bfloat16
    max_pixels  larger pictures are scaled down to this area. 0 is the model's own limit; None is the same for a small
                model, and `PHOTO_PIXELS` for a large one
    The folder of an adapter gives its base model with the adapter added.
    Raises QInsightError if the name, the folder or the device is wrong, or the weights do not fit.
    """
    folder, adapter = find(name)
    where = torch_device(device)
    precision = torch_dtype(dtype, where)
    processor = load_processor(folder, max_pixels or None)
    notes = _limit_photos(processor) if max_pixels is None and _is_large(folder) else ()
    attention = attention_of(options.attention, where, precision)
    placement = place(name, folder, device, where, precision, options)
    network = load_network(folder, precision, placement, attention)
    if adapter:
        add(adapter, network)
    network = network.eval() if placement.moved else network.to(where).eval()
    identity = {
        "model": name,
        "weights": weights_digest(folder, *([adapter.weights] if adapter else [])),
        "device": where.type,
        "dtype": str(precision).removeprefix("torch."),
        **({"quantize": options.quantize} if options.quantize else {}),
        **({"attention": attention} if attention != "sdpa" else {}),
        **pixel_limits(processor),
        "files": other_digests(folder),
    }
    return Model(network, processor, identity, notes)


def _is_large(folder: Path) -> bool:
    """Whether a model has billions of weights. Those of Qwen2.5-VL have a width of 2048 (3B) or more."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("hidden_size") or config.get("text_config", {}).get("hidden_size") or 0) >= LARGE_WIDTH


def _limit_photos(processor: Any) -> tuple[str, ...]:
    """Set the limit for photos if the model's own is higher -> the note on it."""
    limits = pixel_limits(processor)
    own = limits["max_pixels"]
    if own <= PHOTO_PIXELS:
        return ()
    processor.image_processor.size = {"shortest_edge": limits["min_pixels"], "longest_edge": PHOTO_PIXELS}
    return (
        f"pictures of more than {PHOTO_PIXELS:,} pixels are scaled down to that; "
        f"--max-pixels 0 for the model's own limit, {own:,}",
    )


def load_network(
    folder: Path, precision: Any, placement: Placement = ON_CPU, attention: str = "sdpa", **more: Any
) -> Any:
    """The network of a model folder from `locate`, in the given torch dtype, whatever the dtype of its files.

    It is on the CPU, or where `placement` puts it. `more` goes to transformers' from_pretrained. Raises QInsightError
    if a weight is missing.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    from qinsight_cli.core.models.conv_tower import register

    register()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on an invalid configuration
        raise QInsightError(f"{folder / 'config.json'} cannot be read: {first_line(error)}") from error
    _check_size(folder, config)
    flash = {"": "sdpa", "text_config": "sdpa", "vision_config": "flash_attention_2"}
    with one_line(placement.failure, folder), _quiet():
        network, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            # Decoding gives the decoder masks of four dimensions, which flash-attn does not take.
            attn_implementation=flash if attention == "flash" else "sdpa",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **_placed(placement),
            **more,
        )
    if report["missing_keys"]:
        # transformers would use random numbers instead.
        first = min(report["missing_keys"])
        raise QInsightError(
            f"{folder}: {len(report['missing_keys'])} weights are missing, {first} first; download the model again"
        )
    _speed_up(network.model.visual, attention)
    return network


def _placed(placement: Placement) -> dict[str, Any]:
    """The arguments of from_pretrained that a placement stands for; none when the weights load on the CPU."""
    given = {
        "device_map": placement.device_map,
        "max_memory": placement.max_memory,
        "quantization_config": placement.quantization,
    }
    return {name: value for name, value in given.items() if value is not None}


def _speed_up(tower: Any, attention: str) -> None:
    """Replace slow parts of a vision tower of transformers; the numbers stay the same."""
    embedding = getattr(tower, "patch_embed", None)
    if embedding is None:
        return
    if not hasattr(embedding.proj, "_hf_hook"):  # offloaded weights are fetched when the module is called
        embedding.forward = MethodType(_embed_patches, embedding)
    if attention == "sdpa":
        from qinsight_cli.core.models.vision_attention import batch_windows

        batch_windows(tower)


def _embed_patches(embedding: Any, pixels: Any) -> Any:
    """The patch embedding as a matrix product. transformers' convolution, whose stride is its kernel, is slower."""
    from torch.nn.functional import linear

    weight, bias = embedding.proj.weight, embedding.proj.bias
    return linear(pixels.to(weight.dtype), weight.flatten(1), bias)


def _check_size(folder: Path, config: Any) -> None:
    """Refuse a configuration with absurd sizes before the network is built."""
    waiting, layers = [config.to_dict()], ("num_hidden_layers", "depth")
    while waiting:
        for key, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, int) and value > (MOST_LAYERS if key in layers else LARGEST_SIZE):
                raise QInsightError(f"{folder / 'config.json'}: {key} {value} is no size of a model")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of transformers, which would print names from a file unescaped."""
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
