"""Protocols, one module for each task: from answers to the figures and plots of its tables.

A protocol has
    TABLES                                    the paper's tables of its task
    columns(table, datasets)                  the columns of a table measured on these datasets
    lines(table, label, datasets, bench, note)   the lines of one system that has answered
    remarks(choices, datasets)                notes below a table on how it was measured
    plots(table, label, datasets, bench, folder)  draws the answers of one system
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from qinsight_cli.core.tasks import TASKS


def protocol_of(task: str) -> Any:
    """The protocol of a task."""
    return import_module(TASKS[task].protocol)


def method_name(label: str, key: str, name: str, own: tuple[str, ...], several: bool) -> str:
    """The method, with the dataset's name if the dataset is not the table's own or is one of several."""
    return f"{label} on {key}" if several or name not in own else label
