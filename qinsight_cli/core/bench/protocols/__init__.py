"""Protocols, one module for each task: answers -> the figures and plots of its tables.

A protocol has
    TABLES                                        the paper's tables of its task
    columns(table, datasets)                      the columns of a table measured on these datasets
    lines(table, label, datasets, bench, note)    the lines of one system
    remarks(options, datasets)                    notes below a table on how it was measured
    plots(table, label, datasets, bench, folder)  draws the answers of one system
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qinsight_cli.core.tasks import TASKS

if TYPE_CHECKING:
    from qinsight_cli.core.bench.datasets import Dataset
    from qinsight_cli.core.bench.figures import Table


def protocol_of(task: str) -> Any:
    """The protocol of a task."""
    return import_module(TASKS[task].protocol)


def method_name(table: Table, label: str, dataset: Dataset, datasets: Sequence[Dataset]) -> str:
    """The label of a system, with the dataset if that is not the table's own or one of several."""
    return f"{label} on {dataset.key}" if len(datasets) > 1 or dataset.name not in table.datasets else label
