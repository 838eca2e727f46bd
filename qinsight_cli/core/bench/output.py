"""The folder that a bench leaves: tables as CSV, Markdown and LaTeX, plots, every answer, and bench.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qinsight_cli import __version__
from qinsight_cli.core import metrics
from qinsight_cli.core.bench import render
from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.grid import Grid
from qinsight_cli.core.bench.paper import CLASS_COLUMNS, DATASETS, Table
from qinsight_cli.core.bench.protocols import comparison, degradation, score
from qinsight_cli.core.bench.run import Bench
from qinsight_cli.core.bench.systems.base import System, file_name
from qinsight_cli.core.files import claim_folder, write_atomically
from qinsight_cli.core.report.rows import csv_line
from qinsight_cli.core.tasks.degradation import CLASSES

RECORD = "bench.json"
_VERSIONS = ("numpy", "scipy", "pillow", "torch", "transformers", "scikit-image", "matplotlib")
_RADAR = ("Q-Insight", "DeQA", "Q-Align", "Qwen-SFT", "CLIP-IQA+")  # of Table 1, beside what is measured


def claim(folder: Path) -> None:
    """Make the folder of a bench: new, empty, or one that an earlier bench left. Raises QInsightError otherwise."""
    claim_folder(folder, "bench", lambda: any((folder / name).exists() for name in (RECORD, "journals")))


def write(bench: Bench, systems: Sequence[System], folder: Path, settings: Mapping[str, Any], intervals: bool) -> None:
    """Write all of it; each file appears whole. Raises QInsightError when the disk refuses."""
    for table, grid in zip(bench.tables, bench.grids, strict=True):
        _put(folder / f"{table.name}.csv", render.printed_csv(grid))
        _put(folder / f"{table.name}-long.csv", render.long_csv(grid))
        _put(folder / f"{table.name}.md", render.markdown(grid, intervals).encode())
        _put(folder / f"{table.name}.tex", render.latex(grid, intervals).encode())
    _answers(bench, folder)
    _plots(bench, folder)
    tables = {**_recorded(folder), **records(bench, systems, settings)}
    _put(folder / RECORD, json.dumps({"tables": tables}, indent=2, ensure_ascii=False).encode() + b"\n")


def _put(path: Path, content: bytes) -> None:
    with write_atomically(str(path)) as file:
        file.write(content)


def records(bench: Bench, systems: Sequence[System], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Table -> from its figures back to the models, the settings, the data and the versions that gave them."""
    shared = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "systems": {system.label: dict(system.facts()) for system in systems},
        "versions": {
            "qinsight": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _VERSIONS},
        },
    }
    return {
        table.name: {
            **shared,
            "datasets": [one.facts() for one in bench.datasets[table.number]],
            "figures": _figures(grid),
        }
        for table, grid in zip(bench.tables, bench.grids, strict=True)
    }


def _recorded(folder: Path) -> dict[str, Any]:
    """What an earlier bench in the folder recorded; its other tables stay."""
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8"))["tables"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _figures(grid: Grid) -> list[dict[str, Any]]:
    """The measured cells of a table."""
    return [
        {
            "method": line.method,
            "metric": line.metric or column,
            "column": column,
            **{name: value for name, value in vars(cell).items() if name != "digits" and value not in (None, "")},
        }
        for line in grid.lines
        if line.measured
        for column, cell in line.cells.items()
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _answers(bench: Bench, folder: Path) -> None:
    """What each system answered to each row, in the form that --predictions reads."""
    datasets = {(one.key, one.task): one for each in bench.datasets.values() for one in each}
    if bench.answers:
        (folder / "predictions").mkdir(exist_ok=True)
    for (label, key, task), answers in bench.answers.items():
        dataset = datasets[key, task]
        names = {"score": ("rating",), "degradation": ("distortion", "severity"), "comparison": ("winner",)}[task]
        roles = {"image_a": "image_a", "image_b": "image_b"} if task == "comparison" else {"path": "image"}
        lines = [csv_line([*roles, *names, "error"])]
        for sample, answer in zip(dataset.samples, answers, strict=True):
            paths = [str(sample.images[role]) for role in roles.values()]
            lines.append(csv_line([*paths, *(answer.fields.get(name) for name in names), answer.error]))
        _put(folder / "predictions" / f"{file_name(label)}-{file_name(key)}-{task}.csv", b"".join(lines))


# Plots


def _plots(bench: Bench, folder: Path) -> None:
    labels = list(dict.fromkeys(label for label, _, _ in bench.answers))
    for table, grid in zip(bench.tables, bench.grids, strict=True):
        if table.number == "1":
            _radar(grid, folder)
        for label in labels:
            for dataset in bench.datasets[table.number]:
                if (label, dataset.key, dataset.task) in bench.answers and table.task != "score":
                    _plot_one(table, label, dataset, bench, folder)
            if table.task == "score":
                _scatter(table, label, bench, folder)


def _scatter(table: Table, label: str, bench: Bench, folder: Path) -> None:
    from qinsight_cli.core.report import plots

    clouds = []
    for dataset in bench.datasets[table.number]:
        answers = bench.answers.get((label, dataset.key, dataset.task))
        found = score.pair_up(dataset.samples, answers) if answers else None
        if found is None or not found.predicted:
            continue
        cells = score.cells(found, bench.protocol.fitted, 0)
        curve = None
        if bench.protocol.fitted and cells["PLCC"].value is not None:
            curve = metrics.fit_logistic(found.predicted, found.truth)
        title = f"{dataset.column}: PLCC {cells['PLCC'].text()}, SRCC {cells['SRCC'].text()}"
        clouds.append(plots.Cloud(f"{title}\n{len(found.predicted):,} pictures", found.predicted, found.truth, curve))
    if clouds:
        plots.scatter(
            clouds, f"{label}: prediction against MOS", folder / f"{table.name}-scatter-{file_name(label)}.png"
        )


def _radar(grid: Grid, folder: Path) -> None:
    from qinsight_cli.core.report import plots

    lines = [line for line in grid.lines if line.metric == "PLCC"]
    published = {
        line.method: [float(line.cells[column].value or 0.0) for column in DATASETS]
        for line in lines
        if not line.measured and line.method in _RADAR
    }
    measured = {
        line.method: [line.cells[column].value if column in line.cells else None for column in DATASETS]
        for line in lines
        if line.measured and any(column in line.cells for column in DATASETS)
    }
    plots.radar(list(DATASETS), published, measured, folder / "table1-radar.png")


def _plot_one(table: Table, label: str, dataset: Dataset, bench: Bench, folder: Path) -> None:
    from qinsight_cli.core.report import plots

    answers = bench.answers[label, dataset.key, dataset.task]
    title = f"{label} on {dataset.key}"
    if table.task == "degradation":
        counts = degradation.confusion(dataset.samples, answers)
        path = folder / f"{table.name}-confusion-{file_name(label)}-{file_name(dataset.key)}.png"
        columns = [*(CLASS_COLUMNS[name] for name in CLASSES), degradation.UNREAD]
        plots.confusion(counts, columns[:-1], columns, title, path)
        return
    compared = comparison.pair_up(dataset.samples, answers, bench.protocol.original)
    methods, found = comparison.by_methods(compared, bench.protocol.ties)
    if methods:
        path = folder / f"{table.name}-methods-{file_name(label)}.png"
        plots.method_pairs(methods, found, f"{title}: accuracy in %, best method first", path)
