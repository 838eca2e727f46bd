"""Any table of pictures with a label each: `qinsight prepare csv TABLE --image-column ... --label-column ...`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.csv_text import unguarded
from qinsight_cli.core.data.labels import Label, Labelled, Scale, number, unique
from qinsight_cli.core.data.table_files import Table, read_table
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import EXTENSIONS
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
    header: bool = True,
) -> Labelled:
    """The rows of the table; pictures are searched below `images`, or beside the table.

    If the answer of `task` is a number, the ends of `label_range` become 1 and 5 and a label outside is an error;
    without it the extremes of the table become 1 and 5. The columns of other tasks hold their answers. Without a
    `header` columns are named by their numbers, and the first ones are taken in the order of the task. Raises
    QInsightError naming a row without a label.
    """
    if not table.is_file():
        raise QInsightError(f"{table} is not a file; give the table, and its pictures' folder with --images")
    scale = _scale(label_range, lower_is_better) if task.number else None
    if scale is None and (label_range or lower_is_better or columns.label):
        raise QInsightError(f"{task.name} has no scale: its labels are the columns {','.join(task.columns)}")
    roles, named = _columns(columns, task, header)
    found = read_table(table, header)
    needed = [*roles.values(), *named]
    if any(found.column(column) is None for column in needed):
        raise _missing(found, needed, task, header)
    labels = []
    for where, row in found.records(named, (*roles.values(), *task.optional)):
        named_in = {**{role: role for role in task.optional}, **roles}
        pictures = {role: unguarded(row.get(column, "").rstrip()) for role, column in named_in.items()}
        images_of = {role: picture for role, picture in pictures.items() if picture}
        shown = " and ".join(images_of.values())
        missing = next((column for role, column in roles.items() if role in task.roles and role not in images_of), None)
        if missing:
            raise QInsightError(f"{where}: no {missing}; name the picture or remove the row")
        raw, truth = _label(task, row, named, scale, where, shown)
        content = images_of.get("reference", "")
        key = "|".join(images_of[role] for role in task.roles)
        labels.append(Label(key, images_of, raw, where, truth, content=content))
    card = {"columns": {key: value for key, value in vars(columns).items() if value}}
    root = images or table.parent
    return Labelled(name, task.name, root, unique(labels), scale, test_share=0.2, card=card)


def _columns(columns: Columns, task: Task, header: bool) -> tuple[dict[str, str], list[str]]:
    """Role -> the column with its pictures; and the columns with the labels."""
    roles = {role: column for column, role in task.image_columns.items()}
    named = [task.number] if task.number else list(task.columns)
    if not header:
        roles = {role: str(number) for number, role in enumerate(roles, 1)}
        named = [str(number) for number, _ in enumerate(named, len(roles) + 1)]
    if columns.image:
        if len(roles) > 1:
            raise QInsightError(f"--image-column: {task.name} has the columns {','.join(roles.values())}")
        roles = dict.fromkeys(roles, columns.image)
    if columns.reference:
        roles["reference"] = columns.reference
    return roles, [columns.label] if columns.label else named


def _missing(table: Table, needed: Sequence[str], task: Task, header: bool) -> QInsightError:
    """The error for a table without a needed column: what it has, and what to type."""
    missing = next(column for column in needed if table.column(column) is None)
    names = [name for name in table.header if name]
    if not header:
        return QInsightError(f"{table.path} has {len(table.header)} columns ({table.kind}), and no column {missing}")
    seen = f"{table.path} has the columns {', '.join(names)[:200] or '(none)'} ({table.kind}), not {missing!r}"
    if any(_is_picture(name) for name in names):
        return QInsightError(f"{seen}; is its first line no header? then give --no-header")
    if not task.number or not table.rows:
        return QInsightError(f"{seen}; {task.name} needs {','.join(needed)}")
    first = dict(zip(table.header, table.rows[0][1], strict=True))
    picture = next((name for name in names if _is_picture(first[name])), "FILE")
    label = next((name for name in names if _is_number(first[name])), "LABEL")
    words = shlex.join(["--image-column", picture, "--label-column", label])
    return QInsightError(f"{seen}; name the columns, such as {words}")


def _is_picture(text: str) -> bool:
    return text.lower().endswith(EXTENSIONS)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _label(
    task: Task, row: dict[str, str], named: Sequence[str], scale: Scale | None, where: str, shown: str
) -> tuple[Any, dict[str, Any] | None]:
    """The label as written, and the truth that it gives; None for a number on a scale."""
    if scale:
        return number(row[named[0]], scale, where, shown), None
    cells = {column: row[name] for column, name in zip(task.columns, named, strict=True)}
    answer = task.read({**row, **cells})
    if isinstance(answer, ParseFailure):
        raise QInsightError(f"{where}: {shown!r}: {answer.detail}; correct or remove the row")
    return list(cells.values()), answer


def _scale(label_range: tuple[float, float] | None, lower_is_better: bool) -> Scale:
    if label_range is None:
        return Scale(-math.inf, math.inf, not lower_is_better)
    if not label_range[0] < label_range[1]:
        raise QInsightError(f"--label-range {label_range[0]:g} {label_range[1]:g}: give the lower end first")
    return Scale(*label_range, not lower_is_better, exact=True)
