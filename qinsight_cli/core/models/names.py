"""Names of models: from a name to the folder, its weight files, and their digest.

Names: `tiny` (embedded in the package), `q-insight`, `qwen2.5-vl-7b`, any local folder, any hub id with `:subfolder`
and `@revision`. Safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models import hub

# model_type in config.json: Qwen2.5-VL, and the same with the vision module of this project (`conv_tower`).
MODEL_TYPES = ("qwen2_5_vl", "qinsight_conv_vl")
TINY = "tiny"
DECIDING = (".json", ".jinja", ".txt", ".model")
ADAPTER = "adapter_config.json"
TINY_FOLDER = Path(__file__).parents[2] / "tiny"
SHORT_NAMES = {
    "q-insight": "ByteDance/Q-Insight:score_degradation",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}


# Short names of releases with a folder of weights for each kind of task.
BY_TASK = ("q-insight",)


def for_task(name: str, folder: str) -> str:
    """The name of the model for a task. For a release with a folder for each kind of task, the name gets the subfolder
    `folder`, unless it has one; any other name stays."""
    base, at, revision = name.partition("@")
    whole = base in BY_TASK and not Path(name).is_dir()
    return f"{base}:{folder}{at}{revision}" if whole else name


@dataclass(frozen=True)
class ModelName:
    """Where a model comes from: a local `folder`, or a hub `repo` with an optional subfolder and revision."""

    name: str
    folder: Path | None = None
    repo: str = ""
    subfolder: str = ""
    revision: str | None = None


def resolve(name: str) -> ModelName:
    """A name from the command line -> the place of the model. Raises QInsightError if it cannot be a model.

    A short name takes `:subfolder` and `@revision` too: `q-insight:comparison`.
    """
    if name == TINY:
        return ModelName(name, folder=TINY_FOLDER)
    folder = Path(os.path.expanduser(name))
    if name and folder.is_dir():
        return ModelName(name, folder=folder)
    base, _, revision = name.partition("@")
    base, _, subfolder = base.partition(":")
    repo, _, usual = SHORT_NAMES.get(base, base).partition(":")
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")) or not all(repo.split("/")):
        near = get_close_matches(base, [TINY, *SHORT_NAMES], n=1)
        hint = f"did you mean {near[0]}?" if near else "give tiny, q-insight, a model folder, or a hub id owner/name"
        raise QInsightError(f"no model {name!r}: no such folder, and not a hub id; {hint}")
    return ModelName(name, repo=repo, subfolder=(subfolder or usual).strip("/"), revision=revision or None)


def folder_of(name: str) -> Path:
    """The folder of a name, downloaded if necessary. Does not check what the folder holds."""
    where = resolve(name)
    return where.folder or hub.fetch(where.repo, where.subfolder, where.revision)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of its own."""
    return (folder / ADAPTER).is_file() and not any(folder.glob("model*.safetensors"))


def locate(name: str) -> Path:
    """The local folder of a model, downloaded from the hub or taken from its cache if necessary.

    Raises QInsightError if the hub cannot be reached, and for a folder without a configuration, with another kind of
    model, or without all of its weights as safetensors.
    """
    folder = folder_of(name)
    if is_adapter(folder):
        raise QInsightError(
            f"{folder} holds an adapter, and this needs whole weights; give final/ of the run, where it is merged"
        )
    kind = _model_type(folder)
    if kind not in MODEL_TYPES:
        raise QInsightError(f"{folder} holds a {kind}, not a Qwen2.5-VL vision-language model")
    if (folder / ADAPTER).exists():
        # With peft installed, transformers would apply it silently.
        raise QInsightError(
            f"{folder} holds weights and an adapter ({ADAPTER}), which is not applied unasked; "
            "merge it into the weights, or remove it to use them without it"
        )
    missing = [path.name for path in weight_files(folder) if not path.is_file()]
    if missing:
        raise QInsightError(f"{folder} lacks {len(missing)} of its weight files, {missing[0]} first")
    return folder


def _model_type(folder: Path) -> str:
    path = folder / "config.json"
    if not path.is_file():
        raise QInsightError(f"{folder} has no config.json; it is not a model folder")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise QInsightError(f"{path} cannot be read: {first_line(error)}") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads from a model folder, by name; they may be missing.

    Raises QInsightError if the folder has no safetensors weights, or an index that cannot be read.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in _indexed(index)]
    pickled = next((path for pattern in ("*.bin", "*.pt", "*.pth") for path in sorted(folder.glob(pattern))), None)
    if pickled is not None:
        raise QInsightError(
            f"{folder} has weights only as {pickled.name}, a pickle, which can run code; only safetensors are loaded"
        )
    raise QInsightError(f"{folder} has no weights (model.safetensors or model.safetensors.index.json)")


def _indexed(index: Path) -> list[str]:
    """The files that an index names, which must be safetensors in the same folder."""
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise QInsightError(f"{index} cannot be read: {first_line(error)}") from error
    wrong = [name for name in named if not (isinstance(name, str) and re.fullmatch(r"[^/\\\0]+\.safetensors", name))]
    if wrong or not named:
        what = repr(wrong[0]) if wrong else "no file"
        raise QInsightError(f"{index} names {what}; only safetensors files beside it are loaded")
    return sorted(named)


def other_digests(folder: Path) -> dict[str, str]:
    """File -> first 16 hex digits of its SHA-256, for all files besides the weights that affect an answer:
    configuration, processor, chat template, tokenizer, generation settings."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in DECIDING and path.is_file()]
    return {path.name: _file_digest(path)[:16] for path in files if not path.name.endswith(".safetensors.index.json")}


def weights_digest(folder: Path, *more: Path) -> str:
    """SHA-256 over the names and contents of the weight files, and of `more` files, first 16 hex digits.

    The hub's cache names its large files by their SHA-256 already, so those are not read again.
    """
    files = [*weight_files(folder), *more]
    with ThreadPoolExecutor(max_workers=4) as pool:
        lines = [f"{path.name}:{digest}\n" for path, digest in zip(files, pool.map(_file_digest, files), strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _file_digest(path: Path) -> str:
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
