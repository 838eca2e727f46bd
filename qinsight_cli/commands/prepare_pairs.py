"""`qinsight prepare pairs`: comparison rows from a rated dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.prepare_dataset import Making, folder_of, report
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.score import TASK as SCORE


@dataclass(frozen=True, kw_only=True)
class Pairing(Making):
    """Which pairs to make."""

    each: Annotated[float, typer.Option("--each", min=0.0, max=1000.0, help="Pairs to draw for each picture.")] = 1.0
    min_gap: Annotated[
        float, typer.Option("--min-gap", min=0.0, help="The least difference between the ratings of a pair, on 1-5.")
    ] = 0.5


@flat
def pairs(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared dataset with score rows.")],
    *,
    options: Pairing,
) -> None:
    """Pair the pictures of a rated dataset: the picture with the higher rating wins."""
    from qinsight_cli.core.data.card import claimed, read_card
    from qinsight_cli.core.data.manifest import read_split, write_dataset
    from qinsight_cli.core.data.rated_pairs import rated_pairs

    rows = [row for file in sorted(dataset.glob("*.jsonl")) for row in read_split(dataset, file.stem, [SCORE.name])]
    if not rows:
        raise QInsightError(f"{dataset} has no score rows to pair; name a dataset of rated pictures")
    source = read_card(dataset)
    name = f"{source.get('name', dataset.name)}-pairs"
    folder = folder_of(options.out, name)
    card = {"name": name, "from": source.get("name"), "from_sha256": source.get("sha256", {})}
    card |= {"each": options.each, "min_gap": options.min_gap, "seed": options.seed}
    made = rated_pairs(rows, options.each, options.min_gap, options.seed)
    with claimed(folder, card, options.force):
        report(folder, write_dataset(folder, made, card, options.force), [])
