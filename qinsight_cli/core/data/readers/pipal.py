"""PIPAL (Gu et al., 2020): 200 training references, 23,200 distorted and restored pictures with Elo, higher better.

Layout (github.com/HaomingCai/PIPAL-dataset): `Train_Label/A0001.txt` ... one text for each reference, its lines
`A0001_00_00.bmp,1520.0648`; pictures in `Distortion_1/` ... `Distortion_4/` (or `Train_Dist/`), references in
`Train_Ref/A0001.bmp`. One text with all lines is read too. There is no split of the training part; the labels of the
validation and test parts are not public.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_words
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, score_labels
from qinsight_cli.core.data.source_files import label_files

DATASET = Published(
    title="PIPAL",
    signs=("Train_Label/A*.txt", "A[0-9][0-9][0-9][0-9].txt", "pipal*_train.txt"),
    help="PIPAL: restored and distorted pictures with Elo ratings. All for testing, as in the paper.",
)

SCALE = Scale(0.0, 4000.0)  # Elo ratings start at 1400 here; the published ones lie between 900 and 1,900


def read(source: Path) -> Labelled:
    labels = [
        rated(where, name, elo, SCALE, f"{name.split('_')[0]}.bmp")
        for text in label_files(source, "pipal")
        for where, (name, elo, *_) in read_words(text, 2)
    ]
    return score_labels("pipal", source, labels, SCALE)
