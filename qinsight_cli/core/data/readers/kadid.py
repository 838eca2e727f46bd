"""KADID-10k (Lin et al., 2019): 81 photos under 25 distortions at 5 levels, 10,125 pictures with MOS 1-5.

Layout (database.mmsp-kn.de/kadid-10k-database.html): `images/I01_01_01.png` (reference, distortion, level) beside
their references `images/I01.png`, and `dmos.csv` with dist_img,ref_img,dmos,var. The column is called dmos, but higher
is better. There is no official split.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="KADID-10k",
    signs=("dmos.csv",),
    first_line="dist_img",
    help="KADID-10k: 81 photos under 25 distortions at 5 levels, MOS 1-5. All for testing, as in the paper.",
)

SCALE = Scale(1.0, 5.0)


def read(source: Path) -> Labelled:
    table = label_files(source, "kadid")[0]
    labels = [
        rated(where, row["dist_img"], row["dmos"], SCALE, row["ref_img"])
        for where, row in read_csv(table, "kadid", ("dist_img", "ref_img", "dmos"))
    ]
    return score_labels("kadid", source, labels, SCALE)
