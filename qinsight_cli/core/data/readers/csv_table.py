"""Any table of pictures with a label each: `qinsight prepare csv TABLE --image-column ... --label-column ...`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Label, Labelled, Scale, number, unique
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import ParseFailure, Task, score


@dataclass(frozen=True)
class Columns:
    """The columns of the table; None for the task's own names, as in the CSV that qinsight writes."""

    image: str | None = None
    label: str | None = None
    reference: str | None = None


def read(
    table: Path,
    columns: Columns,
    name: str,
    images: Path | None = None,
    label_range: tuple[float, float] | None = None,
    lower_is_better: bool = False,
    task: Task = score.TASK,
) -> Labelled:
    """The rows of the table; pictures are searched below `images`, or beside the table.

    If the answer of `task` is a number, the ends of `label_range` become 1 and 5 and a label outside is an error;
    without it the extremes of the table become 1 and 5. The columns of other tasks hold their answers. Raises
    QInsightError naming a row without a label.
    """
    if not table.is_file():
        raise QInsightError(f"{table} is not a CSV file; give the table, and its pictures' folder with --images")
    scale = _scale(label_range, lower_is_better) if task.number else None
    if scale is None and (label_range or lower_is_better or columns.label):
        raise QInsightError(f"{task.name} has no scale: its labels are the columns {','.join(task.columns)}")
    roles = {role: column for column, role in task.image_columns.items()}
    if columns.image:
        if len(roles) > 1:
            raise QInsightError(f"--image-column: {task.name} has the columns {','.join(roles.values())}")
        roles = dict.fromkeys(roles, columns.image)
    if columns.reference:
        roles["reference"] = columns.reference
    named = [columns.label or task.number] if scale else list(task.columns)
    labels = []
    for where, row in read_csv(table, "", [*roles.values(), *named]):
        optional = {role: row[role] for role in task.optional if row.get(role)}
        found = {**optional, **{role: row[column] for role, column in roles.items() if row[column]}}
        shown = " and ".join(found.values())
        missing = next((column for role, column in roles.items() if role in task.roles and role not in found), None)
        if missing:
            raise QInsightError(f"{where}: no {missing}; name the picture or remove the row")
        raw, truth = (number(row[named[0]], scale, where, shown), None) if scale else _truth(task, row, where, shown)
        content = found.get("reference", "")
        labels.append(Label("|".join(found[role] for role in task.roles), found, raw, where, truth, content=content))
    card = {"columns": {key: value for key, value in vars(columns).items() if value}}
    root = images or table.parent
    return Labelled(name, task.name, root, unique(labels), scale, test_share=0.2, card=card)


def _scale(label_range: tuple[float, float] | None, lower_is_better: bool) -> Scale:
    if label_range is None:
        return Scale(-math.inf, math.inf, not lower_is_better)
    if not label_range[0] < label_range[1]:
        raise QInsightError(f"--label-range {label_range[0]:g} {label_range[1]:g}: give the lower end first")
    return Scale(*label_range, not lower_is_better, exact=True)


def _truth(task: Task, row: dict[str, str], where: str, shown: str) -> tuple[list[str], dict[str, Any]]:
    """The label cells as written, and the truth that they give."""
    said = task.read(row)
    if isinstance(said, ParseFailure):
        raise QInsightError(f"{where}: {shown!r}: {said.detail}; correct or remove the row")
    return [row[column] for column in task.columns], said
