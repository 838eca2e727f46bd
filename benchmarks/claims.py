"""Do the paper's claims hold for a small model? python benchmarks/claims.py --help

Trains these runs with GRPO, several seeds each, all from the same model:

joint          score and degradation together (the multi-task rows of Tables 3 and 4)
score          score alone ("score only" of Table 3)
degradation    degradation alone ("degradation only" of Table 4)
epsilon-E      joint, with another threshold of Eq. 3 (Table B)
comparison     comparison alone (Table 5: before and after its own GRPO)

Then reads the held-out figures of each run, before the first update and after the last, from its metrics.jsonl. After
a stop the same command continues: it keeps finished runs and resumes the others. Prints the tables, writes them and the
mean curves into --docs, and prints one JSON line last. Intervals are Student's t, 95 %, over the seeds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import typer
from learning import mean_lines

from qinsight_cli.core.training.run_folder import read_lines

EPSILONS = (0.15, 0.2, 0.35, 0.5)  # of Table B; the paper trains with 0.35
FIGURES = {"score": ("plcc", "srcc"), "degradation": ("class_accuracy", "level_accuracy"), "comparison": ("accuracy",)}
JOINT = "score,degradation"


@dataclass(frozen=True)
class Arm:
    """One way to train: its tasks and its further options of `qinsight train`."""

    name: str
    tasks: str
    options: tuple[str, ...] = ()


def arms() -> list[Arm]:
    others = [epsilon for epsilon in EPSILONS if epsilon != 0.35]
    return [
        Arm("joint", JOINT),
        Arm("score", "score"),
        Arm("degradation", "degradation"),
        Arm("comparison", "comparison"),
        *(Arm(f"epsilon-{epsilon}", JOINT, ("--score-epsilon", str(epsilon))) for epsilon in others),
    ]


def main(
    data: Annotated[list[Path], typer.Option(help="A prepared dataset; its test rows are held out; repeatable.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")],
    model: Annotated[str, typer.Option(help="The model that all runs start from.")] = "tiny",
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each arm.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Updates of each run.")] = 200,
    eval_rows: Annotated[int, typer.Option(min=1, help="Held-out rows, over all tasks.")] = 600,
    more: Annotated[list[str] | None, typer.Option("--set", help="A line of the recipe; repeatable.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Write claims.md and the curves into this folder.")] = None,
) -> None:
    known = {each.name: each for each in arms()}
    wrong = [name for name in arm or () if name not in known]
    if wrong:
        raise typer.BadParameter(f"no arm {wrong[0]!r}; they are {', '.join(known)}")
    common = [part for folder in data for part in ("--data", str(folder), "--eval-data", str(folder))]
    common += [part for line in more or () for part in ("--set", line)]
    common += ["--model", model, "--max-steps", str(steps), "--eval-every", str(steps), "--eval-rows", str(eval_rows)]
    runs: dict[str, list[list[dict[str, Any]]]] = {}
    for each in [known[name] for name in arm or known]:
        folders = [out / f"{each.name}-{seed}" for seed in range(1, seeds + 1)]
        for seed, folder in enumerate(folders, 1):
            train(each, folder, [*common, "--seed", str(seed)])
        runs[each.name] = [read_lines(folder / "metrics.jsonl") for folder in folders]
    changes = {name: [change(lines) for lines in group] for name, group in runs.items()}
    text = report(changes, f"`{model}`, {steps} updates, {seeds} seeds, {eval_rows} held-out rows")
    print(text)
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        (docs / "claims.md").write_text(text, encoding="utf-8")
        draw(runs, docs)
    print(json.dumps(changes))


def train(arm: Arm, folder: Path, options: Sequence[str]) -> None:
    """Run `qinsight train` in the folder; resume a run that began, skip one that is finished."""
    if (folder / "final").is_dir():
        return
    resume = ["--resume"] if (folder / "run.json").is_file() else []
    command = [sys.executable, "-m", "qinsight_cli", "train", "--tasks", arm.tasks, *arm.options, *options]
    print(f"{folder.name}: {' '.join(command[1:])}", file=sys.stderr)
    code = subprocess.run([*command, "--out", str(folder), *resume]).returncode
    if code:
        raise typer.Exit(code)  # the command has printed the reason


def change(lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Figure of one run -> (before the first update, after the last)."""
    evaluations = [line["eval"] for line in lines if "eval" in line]
    first, last = evaluations[0], evaluations[-1]
    return {name: (first[name], last[name]) for name in first if name in last and name != "rows"}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) by Student's t, from one value for each seed."""
    from scipy.stats import t

    return fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def report(changes: Mapping[str, Sequence[Mapping[str, tuple[float, float]]]], setting: str) -> str:
    """The page in Markdown."""
    parts = ["# The paper's claims with a small model", "", f"{setting}. Written by `benchmarks/claims.py`.", ""]
    parts += ["| trained on | figure | before | after | change |", "| --- | --- | --- | --- | --- |"]
    for name, group in changes.items():
        for figure in (
            figure for figures in FIGURES.values() for figure in figures if all(figure in run for run in group)
        ):
            before, after = ([run[figure][end] for run in group] for end in (0, 1))
            mean, half = interval([end - start for start, end in zip(before, after, strict=True)])
            parts.append(
                f"| {name} | {figure} | {fmean(before):.3f} | {fmean(after):.3f} | {mean:+.3f} [{mean - half:+.3f}, "
                f"{mean + half:+.3f}] |"
            )
    parts += ["", *benefit(changes), *flatness(changes)]
    return "\n".join(parts).rstrip() + "\n"


def benefit(changes: Mapping[str, Sequence[Mapping[str, tuple[float, float]]]]) -> list[str]:
    """Joint training compared with training on one task (Tables 3 and 4), by seed."""
    lines = []
    for alone in ("score", "degradation"):
        runs = [*changes.get("joint", ()), *changes.get(alone, ())]
        if "joint" not in changes or alone not in changes:
            continue
        for figure in (figure for figure in FIGURES[alone] if all(figure in run for run in runs)):
            pairs = zip(changes["joint"], changes[alone], strict=True)
            mean, half = interval([joint[figure][1] - single[figure][1] for joint, single in pairs])
            verdict = "no difference shown" if abs(mean) <= half else "better together" if mean > 0 else "better alone"
            lines.append(f"- {figure}, joint less {alone} alone: {mean:+.3f} ± {half:.3f}: {verdict}.")
    return ["## Do the tasks help each other? (Tables 3 and 4)", "", *lines, ""] if lines else []


def flatness(changes: Mapping[str, Sequence[Mapping[str, tuple[float, float]]]]) -> list[str]:
    """Ratings by the threshold of Eq. 3 (Table B)."""
    names = {0.35: "joint"} | {each: f"epsilon-{each}" for each in EPSILONS if each != 0.35}
    known = [
        epsilon
        for epsilon in EPSILONS
        if names[epsilon] in changes
        and all(figure in run for run in changes[names[epsilon]] for figure in FIGURES["score"])
    ]
    if len(known) < 2:
        return []
    rows = ["| ε | PLCC | SRCC |", "| --- | --- | --- |"]
    for epsilon in known:
        group = changes[names[epsilon]]
        cells = [interval([run[figure][1] for run in group]) for figure in FIGURES["score"]]
        rows.append(f"| {epsilon} | " + " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in cells) + " |")
    return ["## Does the threshold matter? (Table B)", "", *rows, ""]


def draw(runs: Mapping[str, Sequence[Sequence[dict[str, Any]]]], folder: Path) -> None:
    """claims.png: the mean overall reward of each arm over its updates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, group in runs.items():
        lines = [line for line in mean_lines(group) if "reward" in line]
        axes.plot([line["step"] for line in lines], [line["reward"] for line in lines], label=name)
    axes.set_xlabel("update")
    axes.set_ylabel("mean reward of the rollouts")
    axes.legend()
    figure.savefig(folder / "claims.png", dpi=150)


if __name__ == "__main__":
    typer.run(main)
