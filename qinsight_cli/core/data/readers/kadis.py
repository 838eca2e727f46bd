"""DQ-495K's single distortions on KADIS photos (You et al., 2024), from which the paper draws its degradation task.

Layout (modelscope.cn/datasets/zhiyuanyou/DataDepictQA): `KADIS700K/refA_sd_brief/dist_imgs/*.png` and
`metas/*refA_sd*.json`, or train_*.json and test_*.json in a folder metas. Records are {"distortion_class",
"distortion_name", "severity", "id", "image_ref", "image_A"}: 12 classes, severity 1-5, an undistorted picture (about
5 %) has class null and severity 0. The records `train_dist.json` of the paper's code, with "image"
and severities in words, are read too. File names distinguish train from test.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.label_tables import read_json
from qinsight_cli.core.data.labels import Label, Labelled, Published, split_of, stem
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import degradation
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

DATASET = Published(
    title="DQ-495K (KADIS)",
    signs=("*refA_sd*.json", "train_dist.json", "test_dist.json", "metas/t[re]*_*.json"),
    help="DQ-495K's single distortions: noise, blur, compression, darken and none, 7,000 and 1,000 as in the paper.",
)

_IMAGE_KEYS = ("image_A", "image", "img_lq")


def read(source: Path) -> Labelled:
    """The records of noise, blur, compression, darken and no distortion; severities 1-5 are slight ... catastrophic.

    The same record in two files (the test set comes in two sizes) counts once, in the first.
    """
    labels: dict[str, Label] = {}
    left_out: dict[str, str] = {}
    for path in label_files(source, "kadis"):
        split = split_of(path)
        for index, record in enumerate(read_json(path), 1):
            where = f"{path.name}, record {index}"
            image = _image(record, where)
            kind = _class(record, where)
            if kind not in (*DISTORTIONS, NULL):
                left_out[image] = kind
                continue
            label = _label(record, where, image, kind, split)
            before = labels.setdefault(image, label)
            if (before.truth, before.split) != (label.truth, label.split):
                raise QInsightError(f"{where}: {image!r} is another in {before.where}; remove one of the records")
    others = Counter(left_out.values())
    return Labelled(
        "kadis",
        degradation.TASK.name,
        source if source.is_dir() else _above_metas(source),
        list(labels.values()),
        test_share=0.125,
        left_out=tuple(left_out),
        notes=(f"{sum(others.values()):,} records of other classes left out: {', '.join(sorted(others))}",)
        if others
        else (),
        card={"other_classes": dict(sorted(others.items()))},
    )


def _label(record: dict[str, Any], where: str, image: str, kind: str, split: str) -> Label:
    severity = _severity(record, where, kind)
    reference = record.get("image_ref") or record.get("img_ref") or ""
    if not isinstance(reference, str):
        raise QInsightError(f"{where}: the reference of {image!r} is {str(reference)[:40]!r}, not a name")
    return Label(
        id=stem(image),
        images={"image": image},
        raw=[record.get("distortion_class"), record.get("severity")],
        where=where,
        truth={"distortion": kind, "severity": severity},
        split=split,
        content=stem(reference) if reference else stem(image).rpartition("_")[0],
        extra={"generator": record["distortion_name"]} if record.get("distortion_name") else {},
    )


def _image(record: dict[str, Any], where: str) -> str:
    for key in _IMAGE_KEYS:
        if isinstance(record.get(key), str) and record[key]:
            return record[key]
    raise QInsightError(f"{where}: the record has none of {', '.join(_IMAGE_KEYS)}; is it a degradation record?")


def _class(record: dict[str, Any], where: str) -> str:
    if "distortion_class" not in record:
        raise QInsightError(f"{where}: the record has no distortion_class; is it a degradation record?")
    kind = record["distortion_class"]
    return NULL if kind is None or str(kind).lower() in ("none", NULL) else str(kind).lower()


def _severity(record: dict[str, Any], where: str, kind: str) -> str:
    severity = record.get("severity")
    text = str(severity).lower()
    if kind == NULL and text in ("0", "none", "", NULL):
        return NULL
    if kind != NULL and text in SEVERITIES:
        return text
    if kind != NULL and text in ("1", "2", "3", "4", "5"):
        return SEVERITIES[int(text) - 1]
    raise QInsightError(f"{where}: severity {severity!r} with class {kind}; it must be 1-5, or 0 without a distortion")


def _above_metas(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "metas" else path.parent
