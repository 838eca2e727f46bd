"""The folder of a training run: its recipe, data, records and checkpoints, and the point to resume from.

recipe.yaml        the resolved recipe; `--recipe` reads it
run.json           versions, data and their digests
metrics.jsonl      one line for each logged step and each evaluation
final/             the model after the last step
GRPO               completions.jsonl  one group of completions for each logged step, with rewards and advantages
                   rewards.png kl.png the curves, also as SVG and PDF
                   checkpoint-N/ to resume from; best/ is a model
SFT                0-new/ a new model before its first step; N-PHASE/checkpoint-M/ to resume from;
                   N-PHASE/done/ the model after a phase
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import MISSING, asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import held_folder, holds_files, write_text
from qinsight_cli.core.training.devices import is_main

ALGORITHMS = ("grpo", "sft")
WHOLE = "complete"  # a file in every complete checkpoint
PACKAGES = ("torch", "transformers", "trl", "accelerate", "numpy", "pillow")
# How libraries word a full disk. The last two are from torch, after an incomplete write.
FULL_DISK = ("no space left", "os error 28", "errno 28", "disk quota exceeded", "unexpected pos", "iostream error")

# TRL's names -> ours.
RENAMED = {
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "truncated",
    "step_time": "seconds",
}
KEPT = ("loss", "grad_norm", "learning_rate", "reward", "reward_std", "kl", "entropy", "frac_reward_zero_std", "epoch")
FAILURE = "parse_failures/"


def environment() -> dict[str, str]:
    """Versions of what a run depends on."""
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "machine": platform.machine(), **packages}


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `algorithm` is "grpo" or "sft". Only the main process writes."""

    path: Path
    algorithm: str = "grpo"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def completions(self) -> Path:
        return self.path / "completions.jsonl"

    def held(self) -> AbstractContextManager[None]:
        """Lock the folder while this run trains. Raises QInsightError if another run has locked it."""
        return held_folder(self.path) if is_main() else nullcontext()

    def check_resumable(self, recipe: Any, data: Sequence[Mapping[str, Any]], resume: bool) -> None:
        """Raises QInsightError if the folder holds another run, holds a run without --resume, holds none with --resume,
        or is not a folder."""
        began = (self.path / "recipe.yaml").is_file()
        kind = self.algorithm.upper()
        if resume and not began:
            raise QInsightError(f"{self.path} holds no {kind} run to resume")
        if self.path.exists() and not self.path.is_dir():
            raise QInsightError(f"{self.path} is a file; choose another --out")
        if not began and self.path.is_dir() and holds_files(self.path):
            raise QInsightError(f"{self.path} is not empty and holds no {kind} run; choose another --out")
        if began:
            self._compare(recipe, data)
            if not resume:
                raise QInsightError(
                    f"{self.path} holds this run already; add --resume to continue it, or choose another --out"
                )

    def open(self, recipe: Any, data: Sequence[Mapping[str, Any]], resume: bool) -> None:
        """Create the folder and write the description of the run.

        Raises QInsightError as `check_resumable` does, and if the folder cannot be created.
        """
        self.check_resumable(recipe, data, resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise QInsightError(f"cannot make the folder {self.path}: {error.strerror or error}") from error
        write_text(self.path / "recipe.yaml", yaml.safe_dump({self.algorithm: settings(recipe)}, sort_keys=False))
        run = {"data": list(data), "environment": environment()}
        write_text(self.path / "run.json", json.dumps(run, indent=2, default=str) + "\n")

    def resume_point(self, checkpoints: Path | None = None, before: int = 0) -> Path | None:
        """The newest complete checkpoint to continue from; None to start from the beginning.

        checkpoints  their folder, if it is not the run folder
        before       steps of the run before the first step that the checkpoints count
        Drops the records after that checkpoint: those steps will run again.
        """
        checkpoint = last_checkpoint(checkpoints or self.path)
        begun = before > 0 or checkpoint is not None
        self._cut(before + (step_of(checkpoint) if checkpoint else 0) if begun else -1)
        return checkpoint

    def data(self) -> list[dict[str, Any]]:
        """The datasets of the run, as `datasets.collect` described them."""
        path = self.path / "run.json"
        with as_written(path):
            return [dict(one) | {"data": one["data"]} for one in json.loads(path.read_text(encoding="utf-8"))["data"]]

    def _compare(self, recipe: Any, data: Sequence[Mapping[str, Any]]) -> None:
        path = self.path / "recipe.yaml"
        with as_written(path):
            content = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
            if self.algorithm not in content:
                raise QInsightError(f"{self.path} holds a run of {', '.join(content)}, not of {self.algorithm}")
            written = {**_defaults(recipe), **content[self.algorithm]}
        for name, before, now in _differences(written, settings(recipe)):
            raise QInsightError(f"{self.path} holds a run with {name} {before!r}, not {now!r}")
        used = self.data()
        if _without_place(used) != _without_place(data):
            raise QInsightError(f"{self.path} holds a run on other data: {', '.join(str(one['data']) for one in used)}")

    def _cut(self, step: int) -> None:
        """Drop the records after `step`."""
        for path in (self.metrics, self.completions):
            if path.is_file():
                with as_written(path):
                    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # the last is empty, or cut off by a kill
                    whole = [line + "\n" for line in lines if json.loads(line)["step"] <= step]
                write_text(path, "".join(whole))

    def append(self, path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """For reading a file of the folder: one line if it is damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise QInsightError(
            f"{path} is damaged: it is not what `train` wrote; restore it, or choose another --out"
        ) from error


def settings(recipe: Any) -> dict[str, Any]:
    """A recipe in the types of YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(one) for name, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list | tuple) else value

    return plain(asdict(recipe))


def _defaults(recipe: Any) -> dict[str, Any]:
    """The defaults of all keys, for a recipe that was written before a key existed."""
    kept: dict[str, Any] = {}
    for each in fields(recipe):
        if each.default is not MISSING:
            kept[each.name] = each.default
        elif each.default_factory is not MISSING:
            kept[each.name] = each.default_factory()
    return {name: value for name, value in settings(replace(recipe, **kept)).items() if name in kept}


def algorithm_of(folder: Path) -> str:
    """The algorithm of the run in a folder. Raises QInsightError if there is none to resume."""
    try:
        content = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
        (name,) = content
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        name = None
    if name not in ALGORITHMS or not (folder / "run.json").is_file():
        raise QInsightError(f"{folder} holds no run to resume")
    return name


def _differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, value before, value now) of each setting that differs; nested settings have dotted names."""
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        for key in now:
            yield from _differences(before.get(key), now[key], f"{name}.{key}".lstrip("."))
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for number, (first, second) in enumerate(zip(before, now, strict=True), 1):
            yield from _differences(first, second, f"{name}.{number}")
    elif before != now:
        yield name, before, now


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to fill beside `target`. It is renamed at the end, so `target` is either complete or absent."""
    temporary, replaced = (target.with_name(target.name + end) for end in (".part", ".old"))
    for left in (temporary, replaced):
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def full_disk_in_one_line(out: Path) -> Iterator[None]:
    """Turn the error of any library for a full disk into one line that says how to continue."""
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise QInsightError(
            f"the disk of {out} is full; make room and run again with --resume, to continue from the last complete "
            "checkpoint"
        ) from error


def is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(sign in str(error).lower() for sign in FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder. Removes incomplete ones, which a killed run left."""
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / WHOLE).is_file():
            whole.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(whole, key=step_of, default=None)


def _without_place(data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without paths: a dataset may have moved since."""
    return [{name: value for name, value in one.items() if name != "folder"} for one in data]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON lines file; none if there is no file."""
    # Not splitlines(): a completion may contain U+2028 or similar, which JSON does not escape.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] if path.is_file() else []


def metrics_line(step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's log of a step -> a line of metrics.jsonl: our names, and the parse failures that occurred, by kind."""
    line: dict[str, Any] = {"step": step}
    failures: dict[str, float] = {}
    for name, value in logs.items():
        if name.startswith("rewards/") and name.endswith("/mean"):
            line[name.split("/")[1]] = value
        elif name.startswith(FAILURE):
            failures |= {name.removeprefix(FAILURE): value} if value else {}
        elif name in KEPT or name in RENAMED:
            line[RENAMED.get(name, name)] = value
    return {**line, "parse_failures": failures}
