"""`qinsight train`: fine-tune a model by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    algorithm: Annotated[str, typer.Option("--algorithm", help="How to train: sft.")] = "sft",
    recipe: Annotated[str, typer.Option("--recipe", help="A recipe of the package, or a YAML file.")] = "tiny",
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="A prepared dataset; repeatable. All under data/ by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; runs/TIME-RECIPE by default.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Start from this model instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Overrides the recipe's seed.")] = None,
) -> None:
    """Train by a recipe. Run again with the same --out, it goes on where it stopped."""
    from datetime import datetime

    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.training import recipes
    from qinsight_cli.core.training.data import collect
    from qinsight_cli.core.training.sft import run_sft

    if algorithm != "sft":
        raise UsageError(f"--algorithm {algorithm!r}: algorithms are sft")
    chosen = recipes.load_sft(recipe, {"model": model, "seed": seed})
    samples, digests = collect(data, {name for phase in chosen.phases for name in phase.mix})
    folder = out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{Path(recipe).stem}"
    typer.echo(f"training on {len(samples):,} rows, in {folder}", err=True)
    typer.echo(run_sft(chosen, samples, folder, digests))
