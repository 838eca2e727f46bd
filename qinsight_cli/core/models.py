"""A model name -> weights and processor.

Names: `tiny` (embedded in the package), `q-insight`, `qwen2.5-vl-7b`, any local folder, any hub id with `:subfolder`
and `@revision`. Safetensors only, no remote code. Pictures go through Pillow whether torchvision is there or not, so
a machine with torchvision gives the same pixels as one without.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError

# OpenMP threads that spin while they wait made steps up to ten times slower on busy cores; set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TINY = "tiny"
TINY_FOLDER = Path(__file__).parent.parent / "tiny"
SHORT_NAMES = {
    "q-insight": "ByteDance/Q-Insight:score_degradation",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}


@dataclass(frozen=True)
class ModelName:
    """Where a model comes from: a local `folder`, or a hub `repo` with an optional subfolder and revision."""

    name: str
    folder: Path | None = None
    repo: str = ""
    subfolder: str = ""
    revision: str | None = None


@dataclass(frozen=True)
class Model:
    """Loaded weights with their processor. `identity` is what a journal records of them."""

    network: Any
    processor: Any
    identity: dict[str, Any]


def resolve(name: str) -> ModelName:
    """A name from the command line -> where it is. Raises QInsightError when it cannot be a model."""
    if name == TINY:
        return ModelName(name, folder=TINY_FOLDER)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelName(name, folder=folder)
    full = SHORT_NAMES.get(name, name)
    repo_and_subfolder, _, revision = full.partition("@")
    repo, _, subfolder = repo_and_subfolder.partition(":")
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")) or not all(repo.split("/")):
        near = get_close_matches(name, [TINY, *SHORT_NAMES], n=1)
        hint = f"did you mean {near[0]}?" if near else "give tiny, q-insight, a model folder, or a hub id owner/name"
        raise QInsightError(f"no model {name!r}: no such folder, and not a hub id; {hint}")
    return ModelName(name, repo=repo, subfolder=subfolder, revision=revision or None)


def locate(name: str) -> Path:
    """The local folder of a model, fetched from the hub or its cache when need be.

    Raises QInsightError when the hub cannot be reached, or the folder holds no configuration or no safetensors weights.
    """
    where = resolve(name)
    folder = where.folder if where.folder is not None else _from_hub(where)
    if not (folder / "config.json").is_file():
        raise QInsightError(f"model {name!r}: {folder} has no config.json; it is not a model folder")
    if not any(folder.glob("*.safetensors")):
        raise QInsightError(f"model {name!r}: {folder} has no weights (*.safetensors); only safetensors are loaded")
    return folder


def _from_hub(where: ModelName) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    inside = f"{where.subfolder}/" if where.subfolder else ""
    wanted = [f"{inside}{pattern}" for pattern in ("*.json", "*.safetensors", "*.txt", "*.jinja")]
    try:
        snapshot = snapshot_download(where.repo, revision=where.revision, allow_patterns=wanted)
    except RevisionNotFoundError as error:
        raise QInsightError(f"model {where.name!r}: {where.repo} has no revision {where.revision!r}") from error
    except RepositoryNotFoundError as error:
        raise QInsightError(f"model {where.name!r}: there is no {where.repo} on the hub, or it is private") from error
    except HFValidationError as error:
        raise QInsightError(f"model {where.name!r} is not a hub id: {error}") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise QInsightError(
            f"model {where.name!r}: the hub cannot be reached and {where.repo} is not in its cache; "
            "download it where there is a network and give its folder, or use --model tiny"
        ) from error
    folder = Path(snapshot) / where.subfolder
    if not folder.is_dir():
        raise QInsightError(f"model {where.name!r}: {where.repo} has no folder {where.subfolder!r}")
    return folder


def load_model(name: str, device: str = "auto", dtype: str = "auto", max_pixels: int | None = None) -> Model:
    """Weights and processor of a model, ready to answer.

    device      auto (cuda, then mps, then cpu) or anything torch.device reads
    dtype       auto (bfloat16 on cuda, else float32), float32, float16 or bfloat16
    max_pixels  larger pictures are scaled down to this area; None keeps the model's own limit
    Raises QInsightError when the name, the folder or the device is wrong.
    """
    folder = locate(name)
    from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

    where = torch_device(device)
    precision = torch_dtype(dtype, where)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise QInsightError(f"model {name!r}: config.json cannot be read: {first_line(error)}") from error
    if config.model_type != "qwen2_5_vl":
        raise QInsightError(f"model {name!r} is a {config.model_type}, not a Qwen2.5-VL vision-language model")
    processor = load_processor(folder, max_pixels)
    try:
        network = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, config=config, dtype=precision, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise QInsightError(f"model {name!r}: the weights cannot be loaded: {first_line(error)}") from error
    network = network.to(where).eval()
    identity = {
        "model": name,
        "weights": weights_digest(folder),
        "dtype": str(precision).removeprefix("torch."),
        **pixel_limits(processor),
    }
    return Model(network, processor, identity)


def load_processor(folder: Path, max_pixels: int | None = None) -> Any:
    """The Qwen2.5-VL processor of a model folder, on Pillow, padding on the left."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    try:
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    except (OSError, ValueError, KeyError) as error:
        raise QInsightError(f"{folder}: its processor cannot be read: {first_line(error)}") from error
    if max_pixels is not None:
        smallest = (images.patch_size * images.merge_size) ** 2
        if max_pixels < smallest:
            raise QInsightError(f"--max-pixels {max_pixels} is below {smallest}, one token of this model")
        images.size = {"shortest_edge": min(images.size["shortest_edge"], max_pixels), "longest_edge": max_pixels}
    return make_processor(images, tokenizer, _chat_template(folder, tokenizer))


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
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text()
    if (folder / "chat_template.json").is_file():
        return json.loads((folder / "chat_template.json").read_text())["chat_template"]
    if tokenizer.chat_template:
        return tokenizer.chat_template
    raise QInsightError(f"{folder} has no chat template (chat_template.jinja or chat_template.json)")


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


def weights_digest(folder: Path) -> str:
    """SHA-256 over the names, sizes and contents of the weight files, first 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def pixel_limits(processor: Any) -> dict[str, int]:
    size = processor.image_processor.size
    return {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
