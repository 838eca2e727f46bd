"""TID2013 (Ponomarenko et al., 2015): 25 references under 24 distortions at 5 levels, 3,000 pictures with MOS 0-9.

Layout (ponomarenko.info/tid2013.htm): `distorted_images/i01_01_1.bmp`, `reference_images/I01.BMP`, and
`mos_with_names.txt` with lines `5.51429 I01_01_1.bmp`. Names differ in case between disk and text. Higher is better.
There is no official split.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qinsight_cli.core.data.label_tables import read_words
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="TID2013",
    signs=("mos_with_names.txt",),
    help="TID2013: 25 photos under 24 distortions, MOS 0-9. A fifth of the photos is held out.",
)

SCALE = Scale(0.0, 9.0)


def read(source: Path) -> Labelled:
    labels = []
    for where, (mos, name, *_) in read_words(label_files(source, "tid2013")[0], 2):
        label = rated(where, name, mos, SCALE, f"{name.split('_')[0].lower()}.bmp")
        labels.append(replace(label, id=label.id.lower()))
    return score_labels("tid2013", source, labels, SCALE, test_share=0.2)
