"""Summaries of the training runs in a folder: model, data, steps, reward, and state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.training.run_folder import ALGORITHMS, read_lines

RUNNING_SECONDS = 600.0  # a run that wrote its metrics within this time counts as running


@dataclass(frozen=True)
class RunSummary:
    """One run folder. `reward` is that of the last logged step, None without one; `state` is "done", "running",
    "stopped" (it can be resumed) or "not begun"."""

    folder: Path
    algorithm: str
    model: str
    data: str
    steps: int
    reward: float | None
    state: str
    changed: datetime


def find_runs(folder: Path, now: datetime) -> list[RunSummary]:
    """The runs in the subfolders of a folder, the latest first. Other subfolders are skipped."""
    found = [summary for each in folder.glob("*/recipe.yaml") if (summary := _summary(each.parent, now))]
    return sorted(found, key=lambda one: (one.changed, one.folder), reverse=True)


def _summary(folder: Path, now: datetime) -> RunSummary | None:
    try:
        content = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
        ((algorithm, recipe),) = content.items()
        model = recipe["model"]
        data = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
        names = ", ".join(dict.fromkeys(str(one["data"]) for one in data))
        lines = [line for line in read_lines(folder / "metrics.jsonl") if "step" in line]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return None
    if algorithm not in ALGORITHMS:
        return None
    metrics = folder / "metrics.jsonl"
    changed = datetime.fromtimestamp((metrics if metrics.is_file() else folder / "recipe.yaml").stat().st_mtime)
    steps = max((int(line["step"]) for line in lines), default=0)
    return RunSummary(
        *(folder, algorithm, str(model), names, steps, _reward(lines)),
        state=_state(folder, steps, (now - changed).total_seconds()),
        changed=changed,
    )


def _reward(lines: list[dict[str, Any]]) -> float | None:
    rewards: list[Any] = [line["reward"] for line in lines if isinstance(line.get("reward"), float | int)]
    return float(rewards[-1]) if rewards else None


def _state(folder: Path, steps: int, age: float) -> str:
    if (folder / "final" / "config.json").is_file():
        return "done"
    if age < RUNNING_SECONDS:
        return "running"
    return "stopped" if steps else "not begun"


def time_left(line: Mapping[str, Any], step: int, steps: int) -> str:
    """The time left at the pace of the last step, such as "1 h 05 min"; "" if unknown."""
    seconds = line.get("seconds")
    if not isinstance(seconds, float | int) or step >= steps:
        return ""
    minutes = round(seconds * (steps - step) / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min" if minutes else "under a minute"
