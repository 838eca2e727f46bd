"""SPAQ (Fang et al., 2020): 11,125 smartphone photos with MOS 0-100, higher better.

Layout (github.com/h4nwei/SPAQ): `TestImage/00001.jpg` ..., and `Annotations/MOS and Image attribute scores.xlsx` with
columns Image name,MOS,Brightness,Colorfulness,Contrast,Noisiness,Sharpness. There is no official split.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_sheet
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="SPAQ",
    signs=("MOS and Image attribute scores.xlsx",),
    help="SPAQ: 11,125 smartphone photos, MOS 0-100. All for testing, as in the paper.",
)

SCALE = Scale(0.0, 100.0)


def read(source: Path) -> Labelled:
    table = label_files(source, "spaq")[0]
    labels = [
        rated(where, row["Image name"], row["MOS"], SCALE)
        for where, row in read_sheet(table, "spaq", ("Image name", "MOS"))
    ]
    return score_labels("spaq", source, labels, SCALE)
