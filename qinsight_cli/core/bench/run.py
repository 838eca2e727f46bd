"""A bench from start to finish: load the datasets, ask every system, lay out one grid for each table."""

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
class Protocol:
    """How answers become figures; every choice is an option of the command and is explained in docs/bench.md.

    split     of the datasets
    limit     rows drawn of each dataset; None for all
    fitted    PLCC after the logistic fit instead of raw PLCC
    ties      how Similar counts on a pair with a winner: "wrong" or "half"
    original  pairs with the picture before degradation count, in Reg-Acc and Gen-Acc too
    draws     bootstrap resamples; 0 for no intervals
    strict    data on which a table would not be measured as in the paper are refused
    """

    split: str = "test"
    limit: int | None = None
    fitted: bool = False
    ties: str = "wrong"
    original: bool = True
    draws: int = 1000
    seed: int = 0
    strict: bool = False


DEFAULT = Protocol()


@dataclass
class Bench:
    """The result of a bench. `datasets` by table number, `answers` by label, dataset key and task."""

    tables: Sequence[Table]
    datasets: dict[str, list[Dataset]]
    answers: dict[tuple[str, str, str], Sequence[RowAnswer]]
    grids: list[Grid] = field(default_factory=list)
    protocol: Protocol = field(default_factory=Protocol)

    @property
    def failed(self) -> int:
        """The number of rows without an answer, over all systems and datasets."""
        return sum(answer.error is not None for each in self.answers.values() for answer in each)


def measure(
    tables: Sequence[Table],
    folders: Sequence[Path],
    systems: Sequence[System],
    protocol: Protocol,
    settings: AnswerSettings,
) -> Bench:
    """Ask every system about every dataset that it can answer, and lay out the tables.

    Raises QInsightError for a system that serves none of the tables; KeyboardInterrupt passes on, and what was
    answered is kept in the journals.
    """
    bench = Bench(tables, _load(tables, folders, protocol, settings), {}, protocol=protocol)
    unique = {(one.key, one.task): one for each in bench.datasets.values() for one in each}
    # Predictions files come first: they cost nothing, and a wrong one fails at once.
    for system in sorted(systems, key=lambda system: not isinstance(system, PredictionsFile)):
        try:
            _ask(system, list(unique.values()), settings, bench.answers)
        finally:
            system.close()
    bench.grids = [_grid(table, bench, _measured(table, bench, systems)) for table in tables]
    return bench


def check_inputs(
    tables: Sequence[Table], folders: Sequence[Path], systems: Sequence[System], protocol: Protocol = DEFAULT
) -> None:
    """Raise QInsightError, before anything is written, for a folder that serves no table, two systems of one name, or
    where the protocol is strict data that are not those of the paper."""
    check_folders(folders, tables)
    for table in tables if protocol.strict else ():
        for folder in datasets_of_table(folders, table, protocol.split)[0]:
            dataset = load_dataset(folder, table.task, protocol.split, None, protocol.seed)
            reason = dataset and departure(table, dataset)
            if reason:
                raise QInsightError(f"--strict: {table.name} would not be measured as in the paper: {reason}")
    seen: dict[str, str] = {}
    for label in (system.label for system in systems):
        other = seen.get(file_name(label).lower())
        seen[file_name(label).lower()] = label
        if other is not None:
            called = f"called {label}" if other == label else f"called {other} and {label}, which is one file name"
            raise QInsightError(f"two systems are {called}; name them apart with LABEL=NAME")


def departure(table: Table, dataset: Dataset) -> str:
    """How a dataset is not the one that the paper measured a table on, "" if it is."""
    if not table.by_dataset and dataset.name not in table.datasets:
        return f"{dataset.key} is not {' or '.join(table.datasets)}"
    without = dataset.without
    if without:
        role, count = next(iter(without.items()))
        return f"{count:,} of {len(dataset.samples):,} rows of {dataset.key} have no {role}"
    return ""


def _load(
    tables: Sequence[Table], folders: Sequence[Path], protocol: Protocol, settings: AnswerSettings
) -> dict[str, list[Dataset]]:
    loaded: dict[tuple[Path, str], Dataset | None] = {}
    told: set[str] = set()
    found: dict[str, list[Dataset]] = {}
    for table in tables:
        chosen, missing = datasets_of_table(folders, table, protocol.split)
        for line in missing:
            if line not in told:
                settings.say(line)
                told.add(line)
        for folder in chosen:
            key = (folder, table.task)
            if key not in loaded:
                loaded[key] = load_dataset(folder, table.task, protocol.split, protocol.limit, protocol.seed)
                if loaded[key] is None:
                    settings.say(f"{folder} has no {table.task} rows in its split {protocol.split}")
        datasets = [dataset for folder in chosen if (dataset := loaded[folder, table.task]) is not None]
        found[table.number] = sorted(datasets, key=lambda one: _place(one, table))
    return found


def _place(dataset: Dataset, table: Table) -> tuple[int, str]:
    """The paper's datasets in its order, then the others by name."""
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
        raise QInsightError(system.stranger)
    for reason in refusals:
        settings.say(reason)


# Answers -> lines


def _measured(table: Table, bench: Bench, systems: Sequence[System]) -> list[Line]:
    """The lines of every system that answered, in the order in which they were given."""
    lines: list[Line] = []
    for system in systems:
        answered = [one for one in bench.datasets[table.number] if (system.label, one.key, one.task) in bench.answers]
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
    """A row's name for comparing: "epsilon=0.15" is "ε = 0.15"."""
    return re.sub(r"\s+", "", re.sub(r"\b(epsilon|eps)(?=\s*=?\s*[\d.])", "ε", method.lower())).replace("ε=", "ε")


def _title(table: Table, datasets: Sequence[Dataset]) -> str:
    drawn = [f"{len(one.samples):,} of {one.total:,} of {one.key}" for one in datasets if len(one.samples) < one.total]
    sample = f" (a stratified sample: {', '.join(drawn)})" if drawn else ""
    strange = [one.key for one in datasets if not table.by_dataset and one.name not in table.datasets]
    here = [f"on {' and '.join(strange)}"] if strange else []
    here += [f"without {role}s" for role in dict.fromkeys(role for one in datasets for role in one.without)]
    other = f"; measured here {' '.join(here)}" if here else ""
    return f"Table {table.number}: {table.title}{other}{sample}"


def _remarks(table: Table, bench: Bench, datasets: Sequence[Dataset]) -> list[str]:
    remarks = [f"▸ measured here on {', '.join(f'{one.key} ({len(one.samples):,} rows)' for one in datasets)}."]
    remarks += protocol_of(table.task).remarks(bench.protocol, datasets)
    return [*remarks, *(one.note for one in datasets if one.note)]


def recorded_settings(protocol: Protocol, settings: AnswerSettings) -> dict[str, Any]:
    """The settings that bench.json records."""
    return {
        **vars(protocol),
        "decoding": settings.decoding.as_dict(),
        "questions": "sequential" if settings.sequential else "single",
        "batch_size": settings.batch_size or "auto",
    }
