"""Comparisons -> Table 5: the accuracy over the pairs of each content, and the correlation of wins with the MOS.

Reg-Acc counts pairs of regression methods and the original (3 per content), Gen-Acc pairs of generation methods and the
original (36), Overall-Acc all pairs (55): 300, 3,600 and 5,500 on the 100 contents of SRIQA-Bench. No other choice fits
the counts and the published percentages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qinsight_cli.core import metrics
from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.bench.grid import Cell, Line
from qinsight_cli.core.bench.protocols import method_name
from qinsight_cli.core.bench.systems.base import RowAnswer, file_name
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.readers.srbench import ORIGINAL, subsets
from qinsight_cli.core.errors import QInsightError

if TYPE_CHECKING:
    from qinsight_cli.core.bench.datasets import Dataset
    from qinsight_cli.core.bench.run import Bench, ProtocolOptions

TIES = {"wrong": 0.0, "half": 0.5}  # points for Similar on a pair that has a winner
_PARTS = {"Reg-Acc": "regression", "Gen-Acc": "generation", "Overall-Acc": "all"}
TABLES = (
    Table(
        number="5",
        alias="srbench",
        title="Reference-based comparison on SRIQA-Bench",
        task="comparison",
        datasets=("srbench",),
        metrics=("",),
        columns=(*_PARTS, "PLCC", "SRCC"),
    ),
)


def columns(table: Table, datasets: Sequence[Dataset]) -> tuple[str, ...]:
    return table.columns


def lines(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, note: str) -> list[Line]:
    options = bench.options
    made = []
    for dataset in datasets:
        pairs = pair_up(dataset.samples, bench.answers_of(label, dataset), options.original)
        found = cells(pairs, options.ties, options.fitted, options.draws, options.seed)
        missing = "The rows name no reference." if dataset.without.get("reference") == len(dataset.samples) else ""
        notes = " ".join(filter(None, (note, missing)))
        made.append(Line(method_name(table, label, dataset, datasets), "", found, measured=True, note=notes))
    return made


def remarks(options: ProtocolOptions, datasets: Sequence[Dataset]) -> list[str]:
    earned = "half a point" if options.ties == "half" else "nothing"
    original = "with" if options.original else "without"
    how = "after a logistic fit" if options.fitted else "raw"
    own = all(one.name in TABLES[0].datasets for one in datasets)
    pairs = f"all pairs of a content, {original} Original" if own else "the pairs of the manifest"
    found = [
        f"Measured here: {pairs}; Similar earns {earned} on a pair with a winner; PLCC ({how}) and SRCC of the share "
        "of pairs won against the MOS, mean over contents."
    ]
    for one in datasets:
        count = one.without.get("reference", 0)
        if count:
            many = "all" if count == len(one.samples) else f"{count:,} of {len(one.samples):,}"
            found.append(
                f"Without references: {many} pairs of {one.key} have none, so models were asked which picture is "
                "better, not which is closer to a reference. The published figures are reference-based."
            )
    return found


@dataclass(frozen=True)
class Pair:
    """One pair with its answer.

    methods    of A and B; None if the dataset does not name them
    mos        of A and B, higher better; None if unknown
    predicted  Image A, Image B or Similar; None if there is no answer
    """

    content: str
    methods: tuple[str, str] | None
    mos: tuple[float, float] | None
    truth: str
    predicted: str | None

    def points(self, ties: str) -> float:
        """1 for the right answer, 0 for a wrong one or none; for Similar on a pair with a winner as in `TIES`."""
        if self.predicted == self.truth:
            return 1.0
        return TIES[ties] if self.predicted == "Similar" else 0.0


def pair_up(samples: Sequence[Sample], answers: Sequence[RowAnswer], original: bool = True) -> list[Pair]:
    """Rows and their answers -> Pairs. Without `original`, pairs with the original picture are left out."""
    pairs = [_pair(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    return [pair for pair in pairs if original or pair.methods is None or ORIGINAL not in pair.methods]


def _pair(sample: Sample, answer: RowAnswer) -> Pair:
    methods, raw = sample.extra.get("methods"), sample.raw_label
    known = isinstance(raw, list) and len(raw) == 2
    return Pair(
        content=str(sample.extra.get("content") or sample.id),
        methods=(str(methods[0]), str(methods[1])) if methods else None,
        mos=(float(raw[0]), float(raw[1])) if known else None,
        truth=sample.truth["winner"],
        predicted=None if answer.error is not None else answer.fields["winner"],
    )


def cells(
    pairs: Sequence[Pair], ties: str = "wrong", fitted: bool = False, draws: int = 0, seed: int = 0
) -> dict[str, Cell]:
    """The cells of one line of Table 5. Intervals resample whole contents, since their pairs are not independent.

    fitted  PLCC after a logistic fit within each content
    """
    found = {}
    for column, part in _PARTS.items():
        chosen = [pair for pair in pairs if part == "all" or (pair.methods and part in subsets(*pair.methods))]
        if chosen:
            found[column] = _accuracy(chosen, ties, draws, seed)
    if pairs and all(pair.methods for pair in pairs):
        found |= _correlations(pairs, fitted, draws, seed)
    return found


def _accuracy(pairs: Sequence[Pair], ties: str, draws: int, seed: int) -> Cell:
    earned: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        earned[pair.content].append(pair.points(ties))
    sums = np.array([sum(points) for points in earned.values()])
    counts = np.array([len(points) for points in earned.values()])

    def accuracy(rows: Any) -> float:
        return 100.0 * float(sums[rows].sum() / counts[rows].sum())

    low, high = metrics.interval(accuracy, len(sums), draws, seed)
    failed = sum(pair.predicted is None for pair in pairs)
    note = f"{failed:,} of {len(pairs):,} pairs have no readable answer and count as wrong." if failed else ""
    return Cell(accuracy(slice(None)), "percent", low, high, note, len(pairs), failed)


# PLCC and SRCC


def wins(pairs: Sequence[Pair]) -> dict[str, tuple[list[str], NDArray[np.float64], NDArray[np.float64]]]:
    """Content -> its methods, the share of pairs that each won, and the MOS of each (its true share without MOS).

    A tie is half a win for both. In a pair without an answer neither wins.
    """
    by_content: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_content[pair.content].append(pair)
    return {content: _wins(each) for content, each in by_content.items()}


def _wins(pairs: Sequence[Pair]) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    played: dict[str, int] = defaultdict(int)
    won: dict[str, float] = defaultdict(float)
    true: dict[str, float] = defaultdict(float)
    for pair in pairs:
        assert pair.methods is not None
        for side, method in enumerate(pair.methods):
            played[method] += 1
            won[method] += _share(pair.predicted, side)
            true[method] = pair.mos[side] if pair.mos else true[method] + _share(pair.truth, side)
    methods = sorted(played)
    return (
        methods,
        np.array([won[method] / played[method] for method in methods]),
        np.array([true[method] for method in methods]),
    )


def _share(winner: str | None, side: int) -> float:
    if winner is None:
        return 0.0
    return 0.5 if winner == "Similar" else float(winner == ("Image A", "Image B")[side])


def _correlations(pairs: Sequence[Pair], fitted: bool, draws: int, seed: int) -> dict[str, Cell]:
    shares = [(share, truth) for _, share, truth in wins(pairs).values()]
    linear = metrics.plcc_logistic if fitted else metrics.plcc
    return {
        "PLCC": _mean_of(linear, shares, draws, seed),
        "SRCC": _mean_of(metrics.srcc, shares, draws, seed),
    }


def _mean_of(
    statistic: Callable[[Any, Any], float],
    shares: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    draws: int,
    seed: int,
) -> Cell:
    """The mean of a correlation over contents. Contents for which it is undefined are left out and counted."""
    values, reasons = [], []
    for share, truth in shares:
        try:
            values.append(statistic(share, truth))
        except QInsightError as error:
            reasons.append(str(error))
    if not values:
        return Cell(None, "correlation", note=f"No figure: within each content, {reasons[0]}.", digits=4)
    array = np.array(values)
    low, high = metrics.interval(lambda rows: float(array[rows].mean()), len(array), draws, seed)
    note = f"Undefined for {len(reasons)} of {len(shares)} contents ({reasons[0]})." if reasons else ""
    return Cell(float(array.mean()), "correlation", low, high, note, len(values), len(reasons), digits=4)


def by_methods(pairs: Sequence[Pair], ties: str) -> tuple[list[str], Mapping[tuple[str, str], tuple[float, int]]]:
    """The methods, best MOS (or most true wins) first, and for each two of them (points, pairs)."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        if pair.methods:
            first, second = sorted(pair.methods)
            found[first, second].append(pair.points(ties))
    standing: dict[str, list[float]] = defaultdict(list)
    for methods, _, truth in wins([pair for pair in pairs if pair.methods]).values():
        for method, value in zip(methods, truth, strict=True):
            standing[method].append(value)
    order = sorted(standing, key=lambda method: -float(np.mean(standing[method])))
    return order, {names: (sum(points), len(points)) for names, points in found.items()}


def plots(table: Table, label: str, datasets: Sequence[Dataset], bench: Bench, folder: Path) -> None:
    """The accuracy for each two methods, one plot for each dataset."""
    from qinsight_cli.core.report import plots as drawing

    for dataset in datasets:
        pairs = pair_up(dataset.samples, bench.answers_of(label, dataset), bench.options.original)
        methods, found = by_methods(pairs, bench.options.ties)
        if methods:
            path = folder / f"{table.name}-methods-{file_name(label)}.png"
            title = f"{label} on {dataset.key}: accuracy in %, best method first"
            drawing.method_pairs(methods, found, title, path)
