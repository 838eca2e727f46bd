"""Curves of a GRPO run: the rewards and the KL divergence over its steps, from metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.report.plots import new_figure, save
from qinsight_cli.core.tasks import reward_titles

WINDOW = 0.05  # share of the run over which a line is averaged


def draw_curves(lines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write rewards.png and kl.png to `folder`, each also as SVG and PDF; writes nothing without logged steps."""
    steps = [line for line in lines if "eval" not in line]
    if not steps:
        return
    evaluated = [line for line in lines if "eval" in line]
    labels = {"reward": "overall reward", **reward_titles(), "r_rank": "rank"}
    shown = {name: title for name, title in labels.items() if any(line.get(name) is not None for line in steps)}
    _figure(folder / "rewards.png", "mean reward", shown, steps, evaluated)
    if any(line.get("kl") is not None for line in steps):
        _figure(folder / "kl.png", "KL divergence from the start", {"kl": "KL, mean over tokens"}, steps, [])


def _figure(
    path: Path,
    title: str,
    names: Mapping[str, str],
    steps: Sequence[Mapping[str, Any]],
    evaluated: Sequence[Mapping[str, Any]],
) -> None:
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    for number, (name, label) in enumerate(names.items()):
        points = [(line["step"], line[name]) for line in steps if line.get(name) is not None]
        colour = f"C{number}"
        axes.plot(*zip(*points, strict=True), color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(*zip(*smooth(points, len(steps)), strict=True), color=colour, linewidth=2, label=label)
        held_out = [(line["step"], line["eval"][name]) for line in evaluated if line["eval"].get(name) is not None]
        if held_out:
            axes.plot(*zip(*held_out, strict=True), "o--", color=colour, markersize=4, linewidth=1)
    if evaluated:
        axes.plot([], [], "o--", color="grey", markersize=4, linewidth=1, label="held out, greedy")
    axes.set(xlabel="update", ylabel=title)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    if len(names) > 1 or evaluated:
        figure.legend(loc="outside right upper", frameon=False)
    save(figure, path)


def smooth(points: Sequence[tuple[int, float]], steps: int) -> list[tuple[int, float]]:
    """The mean of each point and those before it, over a window of the run."""
    width = max(1, round(WINDOW * steps))
    values = [value for _, value in points]
    means = [
        sum(values[max(0, i + 1 - width) : i + 1]) / len(values[max(0, i + 1 - width) : i + 1])
        for i in range(len(values))
    ]
    return [(step, mean) for (step, _), mean in zip(points, means, strict=True)]
