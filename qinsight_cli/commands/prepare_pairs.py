"""`qinsight prepare pairs`: comparison rows from a rated dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qinsight_cli.commands.prepare_dataset import Out, Seed, folder_of, tell


def pairs(
    dataset: Annotated[Path, typer.Argument(help="A prepared dataset with score rows.")],
    out: Out = None,
    each: Annotated[float, typer.Option("--each", min=0.0, help="Pairs a picture.")] = 1.0,
    min_gap: Annotated[
        float, typer.Option("--min-gap", min=0.0, help="Ratings of a pair differ by at least this, on 1-5.")
    ] = 0.5,
    seed: Seed = 0,
) -> None:
    """Pair the pictures of a rated dataset: the one that people rated higher wins."""
    from qinsight_cli.core.data.manifest import claim, read_card, read_split, write_dataset
    from qinsight_cli.core.data.rated_pairs import rated_pairs
    from qinsight_cli.core.errors import QInsightError
    from qinsight_cli.core.tasks import score

    files, rated = sorted(dataset.glob("*.jsonl")), [score.TASK.name]
    rows = [row for file in files for row in read_split(dataset, file.stem, rated)]
    if not rows:
        raise QInsightError(f"{dataset} holds no score rows to pair")
    name = f"{read_card(dataset).get('name', dataset.name)}-pairs"
    folder = folder_of(out, name)
    made = rated_pairs(rows, each, min_gap, seed)
    claim(folder, name)
    card = {"name": name, "from": read_card(dataset).get("name"), "each": each, "min_gap": min_gap, "seed": seed}
    tell(folder, write_dataset(folder, made, card), [])
