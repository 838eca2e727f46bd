"""CSIQ (Larson and Chandler, 2010): 30 photos under 6 distortions, 866 pictures with DMOS 0-1, LOWER better.

Layout (s2.smu.edu/~eclarson/csiq.html): `dst_imgs/TYPE/1600.AWGN.1.png`, references `src_imgs/1600.png`, and
`csiq.DMOS.xlsx`, whose sheet `all_by_image` has its header in row 4: image,dst_idx,dst_type,dst_lev,dmos_std,dmos from
column D on. The image 1600 is a number there, and the types are spelled differently from the file names. The
widely shared `csiq_label.txt` (`1600.AWGN.1.png 0.061989`) is read too. There is no official split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qinsight_cli.core.data.label_tables import read_sheet, read_words
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.errors import QInsightError

DATASET = Published(
    title="CSIQ",
    signs=("csiq.DMOS.xlsx", "csiq_label.txt"),
    help="CSIQ: 30 photos under 6 distortions, DMOS 0-1 reversed. All for testing, as in the paper.",
)

SCALE = Scale(0.0, 1.0, higher_better=False)
# dst_type of the sheet -> its part of the file name
TYPES = {
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}


def read(source: Path) -> Labelled:
    table = label_files(source, "csiq")[0]
    rows = _from_sheet(table) if table.suffix.lower() == ".xlsx" else _from_text(table)
    labels = [rated(where, name, dmos, SCALE, f"{name.split('.')[0]}.png") for where, name, dmos in rows]
    return score_labels("csiq", source, labels, SCALE)


def _from_sheet(table: Path) -> Iterator[tuple[str, str, str]]:
    needed = ("image", "dst_type", "dst_lev", "dmos")
    for where, row in read_sheet(table, "csiq", needed, sheet="all_by_image", header=3):
        kind = " ".join(row["dst_type"].lower().split())
        if kind not in TYPES:
            raise QInsightError(f"{where}: dst_type is {row['dst_type']!r}, not one of {', '.join(TYPES)}")
        yield where, f"{row['image'].strip()}.{TYPES[kind]}.{row['dst_lev'].strip()}.png", row["dmos"]


def _from_text(table: Path) -> Iterator[tuple[str, str, str]]:
    for where, (name, dmos, *_) in read_words(table, 2):
        yield where, name, dmos
