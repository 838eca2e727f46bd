"""The 5,000 comparisons on DiffIQA (Chen et al., 2025) with which the paper trains its comparison task.

Layout (the paper's repository): `train_comparison.json`, records {"ref_image","ImageA","ImageB","result"} with results
Image A 2,009, Image B 1,991 and Similar 1,000 times; pictures of DiffIQA's validation split below `images/`,
`Original/NAME.png` and `01/NAME_01.png` ... by enhancer. Image A is from the lower-numbered enhancer in every
record, so the order would leak information: it is swapped in a seeded half, or both orders are written.
"""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.data.label_tables import read_json
from qinsight_cli.core.data.labels import Label, Labelled, Published, root_of, stem, unique
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.data.splits import draw_unit
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import comparison
from qinsight_cli.core.tasks.comparison import MIRRORED, WINNERS

DATASET = Published(
    title="DiffIQA comparisons",
    signs=("train_comparison.json",),
    help="The authors' 5,000 comparisons on DiffIQA (train_comparison.json), all for training.",
)

_KEYS = ("ref_image", "ImageA", "ImageB", "result")
_SAID = {
    "swap": "A and B are swapped in a seeded half of the pairs",
    "both": "each pair is written in both orders",
    "original": "pairs are in the file's order, in which A always is the lower enhancer",
}


def read(source: Path, orders: str = "swap", seed: int = 0) -> Labelled:
    """The pairs, each with its reference. All are for training: they come from one file for training."""
    labels: list[Label] = []
    for path in label_files(source, "diffiqa"):
        for index, record in enumerate(read_json(path), 1):
            where = f"{path.name}, record {index}"
            missing = [key for key in _KEYS if not isinstance(record.get(key), str) or not record[key]]
            if missing:
                raise QInsightError(f"{where}: the record has no text as {missing[0]}; is it a comparison record?")
            if record["result"] not in WINNERS:
                raise QInsightError(f"{where}: the result is {record['result']!r}, not {', '.join(WINNERS)}")
            labels += _ordered(record, where, orders, seed)
    root = root_of(source)
    return Labelled(
        "diffiqa",
        comparison.TASK.name,
        root,
        unique(labels),
        test_share=0.0,
        notes=(_SAID[orders],),
        card={"orders": orders},
    )


def _ordered(record: dict[str, str], where: str, orders: str, seed: int) -> list[Label]:
    name = f"{stem(record['ImageA'])}-{stem(record['ImageB'])}"
    straight, swapped = _one(record, where, name, False), _one(record, where, name, True)
    if orders == "both":
        return [straight, swapped]
    swap = orders == "swap" and draw_unit(seed, name) < 0.5
    return [swapped if swap else straight]


def _one(record: dict[str, str], where: str, name: str, swapped: bool) -> Label:
    first, second = (record["ImageB"], record["ImageA"]) if swapped else (record["ImageA"], record["ImageB"])
    return Label(
        id=f"{name}-swapped" if swapped else name,
        images={"reference": record["ref_image"], "image_a": first, "image_b": second},
        raw=record["result"],
        where=where,
        truth={"winner": MIRRORED[record["result"]] if swapped else record["result"]},
        content=stem(record["ref_image"]),
        extra={"swapped": swapped},
    )
