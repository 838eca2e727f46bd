"""KonIQ-10k (Hosu et al., 2020): 10,073 photos with MOS from 1,459 workers, higher better.

Layout (database.mmsp-kn.de/koniq-10k-database.html): picture folders `1024x768/` and `512x384/`, and one of two label
files: `koniq10k_distributions_sets.csv` (image_name,c1..c5,c_total,MOS,SD,set; MOS 0-100; the official split in
`set`), or the older `koniq10k_scores_and_distributions.csv` (MOS 1-5, no split).
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, root_of, score_labels
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.errors import QInsightError

DATASET = Published(
    title="KonIQ-10k",
    signs=("koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"),
    help="KonIQ-10k: 10,073 photos, MOS 0-100 with the official split, or the older file with MOS 1-5.",
)

SIZES = ("1024x768", "512x384")
SPLITS = {"training": "train", "validation": "validation", "test": "test"}


def read(source: Path, size: str | None = None) -> Labelled:
    """The labels; pictures of `size`, or of 1024x768 if present. Without a split 22 % are held out."""
    table = label_files(source, "koniq")[0]
    root = root_of(source)
    if size is not None and not any(path.is_dir() for path in (root / size, *root.glob(f"*/{size}"))):
        raise QInsightError(f"{root} has no folder {size}; sizes are {' and '.join(SIZES)}")
    official = "distributions_sets" in table.name
    scale = Scale(0.0, 100.0) if official else Scale(1.0, 5.0)
    labels = []
    for where, row in read_csv(table, "koniq", ("image_name", "MOS", "set") if official else ("image_name", "MOS")):
        name = row["image_name"]
        if official and row["set"] not in SPLITS:
            raise QInsightError(f"{where}: the set of {name!r} is {row['set']!r}, not {', '.join(SPLITS)}")
        labels.append(rated(where, name, row["MOS"], scale, split=SPLITS[row["set"]] if official else ""))
    folders = (size,) if size else SIZES
    # 2,015 of the 9,073 photos outside the official validation set are its test set.
    return score_labels("koniq", source, labels, scale, test_share=0.22, folders=folders)
