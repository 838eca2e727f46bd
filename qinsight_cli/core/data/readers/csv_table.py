"""Any table of pictures with a number each: `qinsight prepare csv TABLE --image-column ... --label-column ...`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Label, Labelled, Scale, number, unique
from qinsight_cli.core.errors import QInsightError


@dataclass(frozen=True)
class Columns:
    """Which column of the table is what."""

    image: str
    label: str
    reference: str | None = None


def read(
    table: Path,
    columns: Columns,
    name: str,
    images: Path | None = None,
    label_range: tuple[float, float] | None = None,
    lower_is_better: bool = False,
) -> Labelled:
    """The rows of the table; pictures are sought below `images`, or beside the table.

    With `label_range` its ends become the ratings 1 and 5 and a label outside is an error; without it the extremes of
    the table do.
    """
    if not table.is_file():
        raise QInsightError(f"{table} is not a CSV file; give the table, and its pictures' folder with --images")
    scale = Scale(-math.inf, math.inf, not lower_is_better)
    if label_range is not None:
        if not label_range[0] < label_range[1]:
            raise QInsightError(f"--label-range {label_range[0]:g} {label_range[1]:g}: give the lower end first")
        scale = Scale(*label_range, not lower_is_better, exact=True)
    needed = [columns.image, columns.label, *([columns.reference] if columns.reference else [])]
    labels = []
    for where, row in read_csv(table, "", needed):
        image = row[columns.image]
        roles = {"image": image}
        if columns.reference and row[columns.reference]:
            roles["reference"] = row[columns.reference]
        value = number(row[columns.label], scale, where, image)
        labels.append(Label(image, roles, value, where, content=roles.get("reference", "")))
    card = {"columns": {key: value for key, value in vars(columns).items() if value}}
    root = images or table.parent
    return Labelled(name, "score", root, unique(labels), scale, test_share=0.2, card=card)
