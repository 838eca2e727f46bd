"""A bench from start to finish: load the datasets, ask every system, make one grid for each table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset, check_folders, datasets_of_table, load_dataset
from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.bench.grid import Grid, Line
from qinsight_cli.core.bench.protocols import protocol_of
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer, System, file_name
from qinsight_cli.core.bench.systems.predictions import PredictionsFile
from qinsight_cli.core.errors import QInsightError


@dataclass(frozen=True)
class ProtocolOptions:
    """Which rows are measured, and how answers become figures. docs/bench.md explains each.

    split     of the datasets
    limit     rows to draw of each dataset; None for all
    fitted    PLCC after the logistic fit, not raw
    ties      how Similar counts on a pair with a winner: "wrong" or "half"
    original  pairs with the original picture count, also in Reg-Acc and Gen-Acc
    draws     bootstrap resamples; 0 for no intervals
    strict    data that are not the paper's are refused
    """

    split: str = "test"
    limit: int | None = None
    fitted: bool = False
    ties: str = "wrong"
    original: bool = True
    draws: int = 1000
    seed: int = 0
    strict: bool = False


DEFAULT = ProtocolOptions()


@dataclass
class Bench:
    """The result of a bench. `datasets` by table number, `answers` by label, dataset key and task."""

    tables: Sequence[Table]
    datasets: dict[str, list[Dataset]]
    answers: dict[tuple[str, str, str], Sequence[RowAnswer]]
    options: ProtocolOptions
    grids: list[Grid] = field(default_factory=list)

    @property
    def unique_datasets(self) -> dict[tuple[str, str], Dataset]:
        """(key, task) -> each dataset once, however many tables it serves."""
        return {(one.key, one.task): one for each in self.datasets.values() for one in each}

    @property
    def failed(self) -> int:
        """The number of rows without an answer, over all systems and datasets."""
        return sum(answer.error is not None for each in self.answers.values() for answer in each)

    def answers_of(self, label: str, dataset: Dataset) -> Sequence[RowAnswer]:
        """The answers of a system to the rows of a dataset."""
        return self.answers[label, dataset.key, dataset.task]

    def answered(self, label: str, table: Table) -> list[Dataset]:
        """The datasets of a table that a system has answered."""
        return [one for one in self.datasets[table.number] if (label, one.key, one.task) in self.answers]


def measure(
    tables: Sequence[Table],
    folders: Sequence[Path],
    systems: Sequence[System],
    options: ProtocolOptions,
    settings: AnswerSettings,
) -> Bench:
    """Ask every system about every dataset that it can answer, and make the tables.

    Raises QInsightError for a system that can answer no dataset. After a KeyboardInterrupt the journals have the
    finished answers.
    """
    bench = Bench(tables, _load(tables, folders, options, settings), {}, options)
    # Predictions files come first: they cost nothing, and a wrong one fails at once.
    for system in sorted(systems, key=lambda system: not isinstance(system, PredictionsFile)):
        try:
            _ask(system, list(bench.unique_datasets.values()), settings, bench.answers)
        finally:
            system.close()
    bench.grids = [_grid(table, bench, _measured(table, bench, systems)) for table in tables]
    return bench


def check_inputs(
    tables: Sequence[Table], folders: Sequence[Path], systems: Sequence[System], options: ProtocolOptions = DEFAULT
) -> None:
    """Raise QInsightError, before anything is written, for a folder that serves no table, for two systems with the same
    name, and with `strict` for data that are not the paper's."""
    check_folders(folders, tables)
    for table in tables if options.strict else ():
        for folder in datasets_of_table(folders, table, options.split)[0]:
            dataset = load_dataset(folder, table.task, options.split, None, options.seed)
            reason = dataset and departure(table, dataset)
            if reason:
                raise QInsightError(f"--strict: the data of {table.name} are not the paper's: {reason}")
    seen: dict[str, str] = {}
    for label in (system.label for system in systems):
        other = seen.get(file_name(label).lower())
        seen[file_name(label).lower()] = label
        if other is not None:
            names = label if other == label else f"{other} and {label}, which give the same file name"
            raise QInsightError(f"two systems are called {names}; give each its own name with LABEL=NAME")


def departure(table: Table, dataset: Dataset) -> str:
    """How a dataset differs from the one on which the paper measured a table; "" if it is the same."""
    if not table.by_dataset and dataset.name not in table.datasets:
        return f"{dataset.key} is not {' or '.join(table.datasets)}"
    without = dataset.without
    if without:
        role, count = next(iter(without.items()))
        return f"{count:,} of {len(dataset.samples):,} rows of {dataset.key} have no {role}"
    return ""


def _load(
    tables: Sequence[Table], folders: Sequence[Path], options: ProtocolOptions, settings: AnswerSettings
) -> dict[str, list[Dataset]]:
    """The datasets of each table, by its number. Tells the user which are missing or have no rows."""
    loaded: dict[tuple[Path, str], Dataset | None] = {}
    reported: set[str] = set()
    found: dict[str, list[Dataset]] = {}
    for table in tables:
        chosen, missing = datasets_of_table(folders, table, options.split)
        for line in missing:
            if line not in reported:
                settings.say(line)
                reported.add(line)
        for folder in chosen:
            key = (folder, table.task)
            if key not in loaded:
                loaded[key] = load_dataset(folder, table.task, options.split, options.limit, options.seed)
                if loaded[key] is None:
                    settings.say(f"{folder} has no {table.task} rows in its split {options.split}")
        datasets = [dataset for folder in chosen if (dataset := loaded[folder, table.task]) is not None]
        found[table.number] = sorted(datasets, key=lambda one: _place(one, table))
    return found


def _place(dataset: Dataset, table: Table) -> tuple[int, str]:
    """The sort key of a dataset: the paper's datasets in its order, then the others by name."""
    known = table.datasets.index(dataset.name) if dataset.name in table.datasets else len(table.datasets)
    return known, dataset.key


def _ask(
    system: System,
    datasets: Sequence[Dataset],
    settings: AnswerSettings,
    answers: dict[tuple[str, str, str], Sequence[RowAnswer]],
) -> None:
    if isinstance(system, PredictionsFile):
        system.learn(datasets)
    refusals = []
    answered = 0
    for dataset in datasets:
        reason = system.refusal(dataset)
        if reason is not None:
            refusals.append(reason)
            continue
        answered += 1
        found = system.answers(dataset, settings)
        if found:
            answers[system.label, dataset.key, dataset.task] = found
    if datasets and not answered:
        raise QInsightError(refusals[0])
    if isinstance(system, PredictionsFile) and answered and not system.matched:
        raise QInsightError(system.mismatch)
    for reason in refusals:
        settings.say(reason)


# Answers -> lines


def _measured(table: Table, bench: Bench, systems: Sequence[System]) -> list[Line]:
    """The lines of every system that answered, in the order of the command line."""
    lines: list[Line] = []
    for system in systems:
        answered = bench.answered(system.label, table)
        if answered:
            lines += protocol_of(table.task).lines(table, system.label, answered, bench, system.note)
    return lines


# Lines -> a grid


def _grid(table: Table, bench: Bench, measured: Sequence[Line]) -> Grid:
    datasets = bench.datasets[table.number]
    lines = list(table.published())
    for line in measured:
        same = [place for place, other in enumerate(lines) if plain_name(other.method) == plain_name(line.method)]
        category = lines[same[0]].category if same else ""
        lines.insert(same[-1] + 1 if same else len(lines), replace(line, category=category))
    answered = {(key, task) for _, key, task in bench.answers}
    shown = [one for one in datasets if (one.key, one.task) in answered]
    grid = Grid(table.number, _title(table, shown), protocol_of(table.task).columns(table, shown), lines)
    grid.remarks = _remarks(table, bench, shown) if measured else ["Published figures; nothing was measured here."]
    return grid


def plain_name(method: str) -> str:
    """The name of a row for comparisons: "epsilon=0.15" equals "ε = 0.15"."""
    return re.sub(r"\s+", "", re.sub(r"\b(epsilon|eps)(?=\s*=?\s*[\d.])", "ε", method.lower())).replace("ε=", "ε")


def _title(table: Table, datasets: Sequence[Dataset]) -> str:
    drawn = [f"{len(one.samples):,} of {one.total:,} of {one.key}" for one in datasets if len(one.samples) < one.total]
    sample = f" (a stratified sample: {', '.join(drawn)})" if drawn else ""
    others = [one.key for one in datasets if not table.by_dataset and one.name not in table.datasets]
    here = [f"on {' and '.join(others)}"] if others else []
    here += [f"without {role}s" for role in dict.fromkeys(role for one in datasets for role in one.without)]
    other = f"; measured here {' '.join(here)}" if here else ""
    return f"Table {table.number}: {table.title}{other}{sample}"


def _remarks(table: Table, bench: Bench, datasets: Sequence[Dataset]) -> list[str]:
    remarks = [f"▸ measured here on {', '.join(f'{one.key} ({len(one.samples):,} rows)' for one in datasets)}."]
    remarks += protocol_of(table.task).remarks(bench.options, datasets)
    return [*remarks, *(one.note for one in datasets if one.note)]


def recorded_settings(options: ProtocolOptions, settings: AnswerSettings) -> dict[str, Any]:
    """The settings that bench.json records."""
    return {
        **vars(options),
        "decoding": settings.decoding.as_dict(),
        "questions": "sequential" if settings.sequential else "single",
        "batch_size": settings.batch_size or "auto",
    }
