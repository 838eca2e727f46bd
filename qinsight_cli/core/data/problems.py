"""The problems found in a dataset: their list, problems.csv, and whether they stop the preparation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.data.near_duplicates import near_duplicate_pairs, taken_apart
from qinsight_cli.core.disk_errors import disk_errors
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import write_bytes

FILE = "problems.csv"
MISSING, BROKEN, UNLABELLED, SIMILAR = "missing image", "broken image", "image without label", "near-duplicate"
ALIKE = "group of look-alikes"
KINDS = (MISSING, BROKEN, UNLABELLED, SIMILAR, ALIKE)
PLURALS = {
    MISSING: "missing images",
    BROKEN: "broken images",
    UNLABELLED: "images without label",
    SIMILAR: "near-duplicates",
    ALIKE: "groups of look-alikes",
}


@dataclass(frozen=True)
class Problem:
    """A problem with one picture, or for near-duplicates with two."""

    kind: str
    name: str
    detail: str


def look_alike_problems(names: Sequence[str], hashes: Sequence[int | None]) -> list[Problem]:
    """Groups with similar difference hashes that are too large to stay together."""
    return [
        Problem(
            ALIKE,
            f"{len(group):,} pictures like {names[group[0]]}",
            "they look the same to a 64-bit hash, yet are split: if they show one scene, name it in a column",
        )
        for group in taken_apart(hashes)
    ]


def near_duplicate_problems(
    paths: Sequence[Path], hashes: Sequence[int | None], splits: Sequence[str]
) -> list[Problem]:
    """Pairs of pictures in different splits with similar difference hashes."""
    return [
        Problem(SIMILAR, f"{paths[i].name} | {paths[j].name}", f"{splits[i]} and {splits[j]}, {bits} of 64 bits differ")
        for i, j, bits in near_duplicate_pairs(hashes, splits)
    ]


def count_by_kind(problems: Sequence[Problem]) -> dict[str, int]:
    kinds = Counter(problem.kind for problem in problems)
    return {kind: kinds[kind] for kind in KINDS if kind != ALIKE or kinds[kind]}


def write_problems(out: Path, problems: Sequence[Problem]) -> None:
    """Write all problems to `problems.csv` in the dataset folder; without problems there is no such file."""
    if not problems:
        with disk_errors(out / FILE):
            (out / FILE).unlink(missing_ok=True)
        return
    lines = [csv_line(("kind", "name", "detail"))]
    lines += [csv_line((problem.kind, problem.name, problem.detail)) for problem in problems]
    write_bytes(out / FILE, b"".join(lines))


def refuse_bad_images(out: Path, problems: Sequence[Problem], total: str, skip_bad: bool) -> None:
    """Raises QInsightError if pictures are missing or broken, unless they may be skipped.

    total  what was checked, such as "10,125 label rows"
    """
    bad = [problem for problem in problems if problem.kind in (MISSING, BROKEN)]
    if not bad or skip_bad:
        return
    kinds = count_by_kind(bad)
    counted = " and ".join(
        f"{kinds[kind]:,} {PLURALS[kind] if kinds[kind] > 1 else kind}" for kind in kinds if kinds[kind]
    )
    raise QInsightError(
        f"{counted} in {total}, the first {bad[0].name!r} ({bad[0].detail}); all are listed in {out / FILE}: "
        "repair them, or leave them out with --skip-bad"
    )
