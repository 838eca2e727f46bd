"""qinsight compare: which of two pictures is better, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands import judging
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Judging
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.inference.pairs import read_pairs
from qinsight_cli.core.report.rows import AGREEMENT, Row, both_orders
from qinsight_cli.core.tasks import TASKS

ImageA = Annotated[str | None, typer.Argument(metavar="A", help="Image A.", show_default=False)]
ImageB = Annotated[str | None, typer.Argument(metavar="B", help="Image B.", show_default=False)]
Reference = Annotated[str | None, typer.Option("--ref", metavar="FILE", help="The original of both images.")]
Pairs = Annotated[
    Path | None,
    typer.Option("--pairs", metavar="CSV", help="A CSV of pairs with columns image_a,image_b[,reference]."),
]
BothOrders = Annotated[
    bool, typer.Option("--both-orders", help="Ask again with A and B swapped, and show whether the answers agree.")
]


@flat
def compare(
    image_a: ImageA = None,
    image_b: ImageB = None,
    ref: Reference = None,
    pairs: Pairs = None,
    both_orders: BothOrders = False,
    *,
    run: Judging,
) -> None:
    """Say which of two pictures is better: Image A, Image B, or Similar.

    With --both-orders the winner is that of the given order, and the column agreement says whether the swapped order
    has the same winner. After an interruption the same command with the same output file resumes.
    """
    items = _pairs(image_a, image_b, ref, pairs)[: run.limit]
    read = [] if pairs is None else [str(pairs)]
    task = TASKS["comparison"]
    if both_orders:
        both = [order for item in items for order in (item, _swapped(item))]
        counts = judging.judge(task, both, run, (AGREEMENT,), _merge_orders, read)
    else:
        counts = judging.judge(task, items, run, read=read)
    judging.exit_code(counts)


def _pairs(image_a: str | None, image_b: str | None, ref: str | None, pairs: Path | None) -> list[dict[str, str]]:
    if pairs is not None:
        if image_a is not None or ref is not None:
            raise UsageError("give either two images or --pairs, not both (the CSV may have a column reference)")
        return read_pairs(pairs)
    if image_a is None or image_b is None:
        raise UsageError("compare needs two images, or --pairs CSV")
    item = {"image_a": image_a, "image_b": image_b}
    return [item if ref is None else {**item, "reference": ref}]


def _swapped(item: dict[str, str]) -> dict[str, str]:
    return {**item, "image_a": item["image_b"], "image_b": item["image_a"]}


def _merge_orders(rows: Iterator[Row]) -> Iterator[Row]:
    for given in rows:
        yield both_orders(given, next(rows))
