"""BIQ2021 (Ahmed and Asif, 2022): 12,000 camera photos of 512x512 with MOS 0-1 from 30 raters, higher better.

Layout (github.com/nisarahmedrana/BIQ2021): `Images/` with names such as `ss01 (1).jpg`, and `Train (Images and
MOS).csv` and `Test (Images and MOS).csv`, each `Image Name,MOS,,` with two empty columns. One name differs from its
file in case. With both tables the split is the official one; about 124 pairs of near-duplicates lie across it.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="BIQ2021",
    signs=("Train (Images and MOS).csv", "Test (Images and MOS).csv"),
    help="BIQ2021: camera photos, MOS 0-1. The official split with both tables, else a tenth is held out.",
)

TABLES = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}
SCALE = Scale(0.0, 1.0)


def read(source: Path) -> Labelled:
    """The labels of the tables found. With only one table a tenth of the content is held out."""
    first = label_files(source, "biq2021")[0]
    tables = {split: first.with_name(name) for split, name in TABLES.items() if first.with_name(name).is_file()}
    if not tables or source.is_file():
        tables = {"": first}
    labels = [
        rated(where, row["Image Name"], row["MOS"], SCALE, split=split if len(tables) > 1 else "")
        for split, table in tables.items()
        for where, row in read_csv(table, "biq2021", ("Image Name", "MOS"))
    ]
    return score_labels("biq2021", source, labels, SCALE, test_share=0.1)
