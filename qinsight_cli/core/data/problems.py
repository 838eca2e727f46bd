"""The problems found in a dataset: one list, problems.csv, and the decision whether to go on."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qinsight_cli.core.data.near_duplicates import near_duplicate_pairs
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import write_text

FILE = "problems.csv"
MISSING, BROKEN, UNLABELLED, SIMILAR = "missing image", "broken image", "image without label", "near-duplicate"
KINDS = (MISSING, BROKEN, UNLABELLED, SIMILAR)


@dataclass(frozen=True)
class Problem:
    """Something amiss with one picture, or for near-duplicates with two."""

    kind: str
    name: str
    detail: str


def near_duplicate_problems(paths: Sequence[Path], hashes: Sequence[int], splits: Sequence[str]) -> list[Problem]:
    """Pairs of pictures of different splits that look the same, by their difference hashes."""
    return [
        Problem(SIMILAR, f"{paths[i].name} | {paths[j].name}", f"{splits[i]} and {splits[j]}, {bits} of 64 bits differ")
        for i, j, bits in near_duplicate_pairs(hashes, splits)
    ]


def count_by_kind(problems: Sequence[Problem]) -> dict[str, int]:
    kinds = Counter(problem.kind for problem in problems)
    return {kind: kinds[kind] for kind in KINDS}


def write_problems(out: Path, problems: Sequence[Problem]) -> None:
    """All of them in `problems.csv` of the dataset folder, or no such file when there is nothing amiss."""
    if not problems:
        (out / FILE).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", "detail"])
    writer.writerows([problem.kind, problem.name, problem.detail] for problem in problems)
    write_text(out / FILE, text.getvalue())


def refuse_bad_images(out: Path, problems: Sequence[Problem], total: str, skip_bad: bool) -> None:
    """Raises QInsightError when pictures are missing or broken, unless they may be skipped.

    total  what was looked at, such as "10,125 label rows"
    """
    bad = [problem for problem in problems if problem.kind in (MISSING, BROKEN)]
    if not bad or skip_bad:
        return
    kinds = count_by_kind(bad)
    counted = " and ".join(f"{kinds[kind]:,} {kind}{'s' * (kinds[kind] > 1)}" for kind in KINDS if kinds[kind])
    raise QInsightError(
        f"{counted} in {total}, the first {bad[0].name!r} ({bad[0].detail}); all are listed in {out / FILE}: "
        "mend them, or leave them out with --skip-bad"
    )
