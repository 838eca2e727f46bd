"""The folder of a GRPO run: what was asked, on what, what happened, and which checkpoint to go on from.

recipe.yaml        the resolved recipe; `--recipe` reads it
run.json           versions, data and their digests
metrics.jsonl      one line a logged step, and one an evaluation
completions.jsonl  one group of completions a logged step, with rewards and advantages
rewards.png kl.png the curves
checkpoint-N/      to resume from; best/ and final/ are models
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import write_text
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe

WHOLE = "complete"  # a file in every checkpoint that was written to its end
PACKAGES = ("torch", "transformers", "trl", "accelerate", "numpy", "pillow")

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
    """One run's folder. Only the main process writes."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def completions(self) -> Path:
        return self.path / "completions.jsonl"

    def check_resumable(self, recipe: GrpoRecipe, data: Sequence[Mapping[str, Any]], resume: bool) -> None:
        """Raises QInsightError when the folder holds another run, one that was not asked to be resumed, or none that
        was, or is no folder."""
        began = (self.path / "recipe.yaml").is_file()
        if resume and not began:
            raise QInsightError(f"{self.path} holds no GRPO run to resume")
        if self.path.exists() and not self.path.is_dir():
            raise QInsightError(f"{self.path} is a file; choose another --out")
        if not began and self.path.is_dir() and any(self.path.iterdir()):
            raise QInsightError(f"{self.path} is not empty and holds no GRPO run; choose another --out")
        if began:
            self._compare(recipe, data)
            if not resume:
                raise QInsightError(
                    f"{self.path} holds this run already; add --resume to go on, or choose another --out"
                )

    def open(self, recipe: GrpoRecipe, data: Sequence[Mapping[str, Any]], resume: bool) -> Path | None:
        """Make the folder, or find the checkpoint to go on from; None is a start from the beginning.

        Raises QInsightError as `check_resumable` does, and when the folder cannot be made.
        """
        self.check_resumable(recipe, data, resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise QInsightError(f"cannot make the folder {self.path}: {error.strerror or error}") from error
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()}
        write_text(self.path / "recipe.yaml", yaml.safe_dump({"grpo": settings}, sort_keys=False))
        run = {"data": list(data), "environment": environment()}
        write_text(self.path / "run.json", json.dumps(run, indent=2, default=str) + "\n")
        checkpoint = last_checkpoint(self.path)
        self._cut(int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
        return checkpoint

    def data(self) -> list[dict[str, Any]]:
        """The datasets of the run, as `data.collect` described them."""
        return json.loads((self.path / "run.json").read_text(encoding="utf-8"))["data"]

    def _compare(self, recipe: GrpoRecipe, data: Sequence[Mapping[str, Any]]) -> None:
        before = yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8"))["grpo"]
        for name, value in asdict(recipe).items():
            now = list(value) if isinstance(value, tuple) else value
            if before.get(name) != now:
                raise QInsightError(f"{self.path} holds a run with {name} {before.get(name)!r}, not {now!r}")
        used = self.data()
        if _without_place(used) != _without_place(data):
            raise QInsightError(f"{self.path} holds a run on other data: {', '.join(str(one['data']) for one in used)}")

    def _cut(self, step: int) -> None:
        """Forget what was recorded after `step`: it will be done again."""
        for path in (self.metrics, self.completions):
            if path.is_file():
                *lines, _ = path.read_text(encoding="utf-8").split("\n")  # the last one is empty, or torn by a kill
                whole = [line + "\n" for line in lines if json.loads(line)["step"] <= step]
                write_text(path, "".join(whole))

    def append(self, path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder. Those that a kill left unfinished are removed."""
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / WHOLE).is_file():
            whole.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(whole, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


def _without_place(data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A dataset may have moved since."""
    return [{name: value for name, value in one.items() if name != "folder"} for one in data]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON lines file that were written to their end; none when there is no file."""
    # Not splitlines(): a completion may hold U+2028 and its kin, which JSON leaves as they are.
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
