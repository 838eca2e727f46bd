"""The JSON records that the field passes around: DeQA-Score's and Q-Align's meta files.

A file is a list of {"image", "gt_score_norm" or "gt_score", ...}, some numbers as strings, image paths relative to a
common root. DeQA-Score's gt_score_norm is a rating in [1, 5] already (github.com/zhiyuanyou/DeQA-Score), its gt_score
the original MOS; Q-Align's files (github.com/Q-Future/Q-Align) have gt_score. File names that begin with train or
test give the split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.label_tables import read_json
from qinsight_cli.core.data.labels import Label, Labelled, Scale, number, split_of, unique
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import score

NORMED = Scale(1.0, 5.0, exact=True)
_ANY = Scale(-math.inf, math.inf)
_IMAGE_KEYS = ("image", "img_path")


def read(sources: Sequence[Path], name: str, images: Path | None = None, lower_is_better: bool = False) -> Labelled:
    """The records of JSON files, or of folders of them. Ratings are gt_score_norm if every record has it.

    Otherwise they are gt_score, scaled by its extremes over all records. Raises QInsightError if a record lacks it.
    """
    files = [path for source in sources for path in (sorted(source.glob("*.json")) if source.is_dir() else [source])]
    if not files:
        raise QInsightError(f"no JSON files in {', '.join(map(str, sources))}")
    rows = [
        (f"{path.name}, record {index}", split_of(path), record)
        for path in files
        for index, record in enumerate(read_json(path), 1)
    ]
    normed = all("gt_score_norm" in record for _, _, record in rows)
    key, scale = ("gt_score_norm", NORMED) if normed else ("gt_score", Scale(-math.inf, math.inf, not lower_is_better))
    if normed and lower_is_better:
        raise QInsightError("--lower-is-better: gt_score_norm is higher better by its making; leave the option out")
    labels = [_label(record, where, split, key, scale) for where, split, record in rows]
    return Labelled(
        name,
        score.TASK.name,
        images or files[0].parent,
        unique(labels),
        scale,
        test_share=0.2,
        card={"label_field": key},
    )


def _label(record: dict[str, Any], where: str, split: str, key: str, scale: Scale) -> Label:
    image = next((record[name] for name in _IMAGE_KEYS if isinstance(record.get(name), str) and record[name]), None)
    if image is None:
        raise QInsightError(f"{where}: the record has no {' or '.join(_IMAGE_KEYS)}; is it a score record?")
    if key not in record:
        raise QInsightError(f"{where}: the record of {image!r} has neither gt_score nor gt_score_norm")
    value = number(record[key], scale, where, image)
    original = record.get("gt_score")
    extra = {} if original is None or key == "gt_score" else {"gt_score": number(original, _ANY, where, image)}
    return Label(image, {"image": image}, value, where, split=split, extra=extra)
