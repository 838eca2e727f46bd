"""SRIQA-Bench (Chen et al., 2025): 100 photos by 10 super-resolution methods and the original, compared in all pairs.

Layout (github.com/ChrisDud0257/AFINE): `images/METHOD/CONTENT_METHODx4.png` and `images/Original/CONTENT_Original.png`;
MOS 0-100 a content in `MOS/CONTENT_Original.txt` (`NAME.png,MOS`), and the raters' own answers in
`labels/RATER/CONTENT.../*.json` ({"Picture_01": {"Name", "Label"}, "Picture_02": ...} with Positive, Similar,
Negative). One text with all 1,100 rows (`[reference] name mos`) is read too. One such file in circulation holds
100 - MOS: it is recognised by the originals, which raters like best, and reversed.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.data.label_tables import read_words
from qinsight_cli.core.data.labels import Label, Labelled, Published, Scale, number, root_of, stem
from qinsight_cli.core.data.readers.srbench_votes import Votes, read_votes
from qinsight_cli.core.data.source_files import ImageFinder, label_files
from qinsight_cli.core.data.splits import draw_unit
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import comparison

DATASET = Published(
    title="SRIQA-Bench",
    signs=("SRIQA*.txt", "*_SRIQA_mos.txt", "MOS/*_*.txt", "MOS/online*.txt"),
    help="SRIQA-Bench: all pairs of 11 pictures of 100 contents, for testing.",
)

SCALE = Scale(-0.001, 100.001)  # one file has 100 - MOS with rounding errors
ORIGINAL = "Original"
REGRESSION = ("SwinIR", "RealESRNet")
GENERATION = ("RealESRGAN", "BSRGAN", "HGGT", "StableSR", "SUPIR", "SeeSR", "SinSR", "OSEDiff")


def read(source: Path, truth: str | None = None, references: Path | None = None, seed: int = 0) -> Labelled:
    """Every pair of pictures of one content, in an order drawn by the seed.

    truth       the winner by "mos" (higher wins) or by the raters' "votes" (most answers; a draw is Similar); by
                default by MOS if there are any
    references  folder of one reference for each content, named CONTENT.png or CONTENT_....png: the low-resolution
                inputs as in the paper, or images/Original as its authors; None compares without
    """
    votes = read_votes(source)
    mos, inverted = ({}, False) if truth == "votes" or _only_votes(source, votes) else _read_mos(source)
    if truth == "votes" and not votes:
        raise QInsightError(f"{source} has no labels/RATER/CONTENT/*.json; take --truth mos")
    names = sorted(mos or {name for pair in votes for name in pair})
    labels = _pairs(names, mos, votes, _reference_of(references, names), seed)
    notes = ["A and B are in a seeded order"]
    if inverted:
        notes.append("the label file holds 100 - MOS (its originals come out worst): it was reversed")
    return Labelled(
        "srbench",
        comparison.TASK.name,
        root_of(source),
        labels,
        notes=tuple(notes),
        card={"truth": "mos" if mos else "votes", "inverted_file": inverted, "references": references is not None},
    )


def method_of(name: str) -> str:
    """`online20_RealESRNetx4.png` -> RealESRNet. Raises QInsightError for any other name."""
    method = stem(name).partition("_")[2].removesuffix("x4")
    if method not in (ORIGINAL, *REGRESSION, *GENERATION):
        raise QInsightError(f"{name!r} names no method of SRIQA-Bench (CONTENT_METHODx4.png); is it another dataset?")
    return method


def subsets(first: str, second: str) -> list[str]:
    """The parts of Table 5 that a pair of methods counts for: regression, generation, all. Original is in all three."""
    found = ["all"]
    for name, methods in (("regression", REGRESSION), ("generation", GENERATION)):
        if all(method in (ORIGINAL, *methods) for method in (first, second)):
            found.append(name)
    return found


def _pairs(
    names: Sequence[str],
    mos: Mapping[str, float],
    votes: Votes,
    reference_of: Mapping[str, str],
    seed: int,
) -> list[Label]:
    by_content: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_content[stem(name).partition("_")[0]].append(name)
    labels = []
    for content, pictures in sorted(by_content.items()):
        for pair in itertools.combinations(pictures, 2):
            if not mos and pair not in votes:
                continue
            order = pair if draw_unit(seed, "|".join(pair)) < 0.5 else pair[::-1]
            labels.append(_label(content, order, mos, votes.get(pair), reference_of.get(content)))
    return labels


def _label(
    content: str,
    order: tuple[str, ...],
    mos: Mapping[str, float],
    counted: Mapping[str, int] | None,
    reference: str | None,
) -> Label:
    first, second = order
    methods = [method_of(name) for name in order]
    extra: dict[str, Any] = {"methods": methods, "subsets": subsets(*methods)}
    if counted:
        extra["votes"] = {
            "Image A": counted.get(first, 0),
            "Image B": counted.get(second, 0),
            "Similar": counted.get("", 0),
        }
    images = {"image_a": first, "image_b": second}
    values = [mos[name] for name in order] if mos else [_majority(extra["votes"]), 0]
    return Label(
        id=f"{content}-{'-'.join(methods)}",
        images={"reference": reference, **images} if reference else images,
        raw=values if mos else None,
        where=f"{first} and {second}",
        truth=comparison.rated(*values),
        split="test",
        content=content,
        extra=extra,
    )


def _majority(counted: Mapping[str, int]) -> int:
    """Above 0 if most raters chose A, below 0 if B; 0 for a draw or if most found both similar."""
    first, second, similar = counted["Image A"], counted["Image B"], counted["Similar"]
    return 0 if similar >= max(first, second) else first - second


def _read_mos(source: Path) -> tuple[dict[str, float], bool]:
    """Picture name -> MOS, higher better, and whether the file had them reversed."""
    mos: dict[str, float] = {}
    for path in label_files(source, "srbench"):
        for where, words in read_words(path, 2):
            # `name mos`, `reference name mos`, or `name reference mos`: the name with a method is the picture.
            named, numbers = [word for word in words if "_" in word], [word for word in words if "_" not in word]
            if not named or not numbers:
                raise QInsightError(f"{where}: no picture is named CONTENT_METHODx4.png; is it SRIQA-Bench's file?")
            name = next((word for word in named if method_of(word) != ORIGINAL), named[0])
            if name in mos:
                raise QInsightError(f"{where}: {name!r} is labelled twice; remove one")
            mos[name] = number(numbers[0], SCALE, where, name)
    originals = [value for name, value in mos.items() if method_of(name) == ORIGINAL]
    inverted = bool(originals) and sum(originals) / len(originals) < sum(mos.values()) / len(mos)
    return {name: 100.0 - value if inverted else value for name, value in mos.items()}, inverted


def _only_votes(source: Path, votes: Votes) -> bool:
    if not votes or source.is_file():
        return False
    try:
        return not label_files(source, "srbench")
    except QInsightError:
        return True


def _reference_of(folder: Path | None, names: Sequence[str]) -> dict[str, str]:
    """Content -> its reference in the folder. Raises QInsightError if a content has none."""
    if folder is None:
        return {}
    by_content = {path.stem.partition("_")[0]: str(path) for path in sorted(ImageFinder(folder), reverse=True)}
    missing = sorted({stem(name).partition("_")[0] for name in names} - set(by_content))
    if missing:
        raise QInsightError(f"{folder} has no reference for {len(missing)} contents, the first {missing[0]!r}")
    return by_content
