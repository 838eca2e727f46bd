"""AGIQA-3K (Li et al., 2023): 2,982 pictures by 6 generative models, quality MOS 0-5, higher better.

Layout (github.com/lcysyzxdxc/AGIQA-3k-Database): `data.csv` with name,prompt,adj1,adj2,style,mos_quality,std_quality,
mos_align,std_align, and a folder of pictures such as `AttnGAN_normal_000.jpg`. `mos_quality` is the quality;
`mos_align`, how well the prompt is met, is another question. There is no official split.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="AGIQA-3K",
    signs=("data.csv", "agiqa*.csv"),
    first_line="mos_quality",
    help="AGIQA-3K: pictures by generative models, quality MOS 0-5. All for testing, as in the paper.",
)

SCALE = Scale(0.0, 5.0)


def read(source: Path) -> Labelled:
    table = label_files(source, "agiqa")[0]
    labels = [
        rated(where, row["name"], row["mos_quality"], SCALE)
        for where, row in read_csv(table, "agiqa", ("name", "mos_quality"))
    ]
    return score_labels("agiqa", source, labels, SCALE)
