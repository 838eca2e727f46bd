"""LIVE In the Wild (Ghadiyaram and Bovik, 2016): 1,169 phone photos with MOS 0-100, higher better.

Layout (live.ece.utexas.edu/research/ChallengeDB): `Data/AllImages_release.mat` (a cell of names),
`Data/AllMOS_release.mat` and `Data/AllStdDev_release.mat` (one row of numbers), pictures in `Images/`. The first
7 entries, in `Images/trainingImages/`, taught the raters the task and are usually dropped. There is no official split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated, unique
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import score

DATASET = Published(
    title="LIVE In the Wild",
    signs=("AllMOS_release.mat",),
    help="LIVE In the Wild: 1,169 phone photos, MOS 0-100, without the first 7. All for testing, as in the paper.",
)

SCALE = Scale(0.0, 100.0)
TRAINING = 7


def read(source: Path, keep_training: bool = False) -> Labelled:
    """The labels, without those of the 7 training pictures unless `keep_training`."""
    data = label_files(source, "livew")[0].parent
    names = [_name(entry, index) for index, entry in enumerate(_vector(data, "AllImages_release"), 1)]
    scores = _vector(data, "AllMOS_release")
    if len(names) != len(scores):
        raise QInsightError(f"{data}: {len(names)} names but {len(scores)} scores; download the .mat files again")
    first = 0 if keep_training else TRAINING
    labels = [
        rated(f"AllMOS_release.mat, entry {index + 1}", names[index], scores[index], SCALE)
        for index in range(first, len(names))
    ]
    root = source if source.is_dir() else (data.parent if data.name == "Data" else data)
    note = f"the first {first} entries, which taught the raters the task, are dropped (--keep-training keeps them)"
    return Labelled(
        "livew",
        score.TASK.name,
        root,
        unique(labels),
        SCALE,
        left_out=tuple(names[:first]),
        notes=(note,) if first else (),
        card={"keep_training": keep_training},
    )


def _name(cell: Any, index: int) -> str:
    """Raises QInsightError for a cell that is empty or holds more than one name."""
    held = cell.ravel().tolist() if hasattr(cell, "ravel") else [cell]
    if len(held) != 1 or not isinstance(held[0], str) or not held[0].strip():
        raise QInsightError(f"AllImages_release.mat, entry {index}: the cell holds no name; download it again")
    return held[0]


def _vector(folder: Path, name: str) -> list[Any]:
    """The entries of the one variable of NAME.mat."""
    from scipy.io import loadmat

    path = folder / f"{name}.mat"
    if not path.is_file():
        raise QInsightError(f"{folder} has no {path.name}; it belongs beside AllMOS_release.mat")
    try:
        return list(loadmat(path)[name].ravel())
    except KeyError:
        raise QInsightError(f"{path} has no variable {name}; give the authors' file") from None
    except Exception as error:  # whatever a broken file raises
        raise QInsightError(f"cannot read {path}: {' '.join(str(error).split())}; download it again") from None
