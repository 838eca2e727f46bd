"""One reader per published dataset: its original layout -> labels, which `data.prepare` turns into manifest rows.

A reader is a module with `DATASET`, which describes the dataset, and `read(source, ...)`, which finds the label
files, checks their header and numbers, and opens no picture.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# The readers, and the names of their commands. If a folder could be two datasets, the first is named.
NAMES = (
    "koniq",
    "spaq",
    "kadid",
    "pipal",
    "livew",
    "csiq",
    "tid2013",
    "biq2021",
    "kadis",
    "diffiqa",
    "srbench",
    "agiqa",
)


def reader(name: str) -> Any:
    """The module of a reader."""
    return import_module(f"{__name__}.{name}")


def published() -> dict[str, Any]:
    """Every published dataset by name: title, label files, help."""
    return {name: reader(name).DATASET for name in NAMES}
