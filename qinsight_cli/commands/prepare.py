"""`qinsight prepare`: a dataset in its original layout -> one checked manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Turn a dataset, or a folder of photos, into a manifest for train and bench."
)

Out = Annotated[Path | None, typer.Option("--out", help="Dataset folder to write; data/NAME by default.")]
Reasoning = Annotated[
    bool, typer.Option("--reasoning", help="Write a reasoning for each row, computed from its picture.")
]
TestShare = Annotated[float, typer.Option("--test-share", min=0.0, max=1.0, help="Share of the content held out.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides splits, damage and wording.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that decode and damage pictures.")]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@app.command()
def synth(
    sources: Annotated[list[str] | None, typer.Argument(help="Clean photos: files, folders, quoted globs.")] = None,
    out: Out = None,
    clean_from: Annotated[
        Path | None, typer.Option("--from", help="A prepared score dataset: its photos rated at least --min-rating.")
    ] = None,
    min_rating: Annotated[
        float, typer.Option("--min-rating", help="With --from: lowest rating of a clean photo.")
    ] = 4.2,
    per_photo: Annotated[int, typer.Option("--per-photo", help="Damaged pictures of each photo.")] = 20,
    tasks: Annotated[
        str, typer.Option("--tasks", help="Rows to write: degradation, score, comparison.")
    ] = "degradation",
    pairs: Annotated[int, typer.Option("--pairs", help="Comparison rows a photo.")] = 8,
    reasoning: Reasoning = False,
    test_share: TestShare = 0.15,
    seed: Seed = 0,
    workers: Workers = CORES,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N photos.")] = None,
) -> None:
    """Damage clean photos with noise, blur, compression and darkening at five severities."""
    from qinsight_cli.core.datasets import synth as dataset
    from qinsight_cli.core.images import find_images
    from qinsight_cli.core.manifest import write_dataset
    from qinsight_cli.core.report.progress import progress_bar

    folder = (out or Path("data/synth")).resolve()
    photos = [Path(path).resolve() for path in find_images(sources)] if sources else []
    known_splits = _rated_photos(clean_from, min_rating) if clean_from else {}
    photos = [*photos, *known_splits][:limit]
    plan = dataset.Plan(folder, per_photo, _task_names(tasks), pairs, reasoning, seed)
    dataset.check_plan(plan, photos)
    with progress_bar("photos", len(photos)) as advance:
        rows = list(dataset.synthesise(photos, plan, test_share, known_splits, workers, advance))
    card = {
        "name": "synth",
        "photos": len(photos),
        "per_photo": per_photo,
        "test_share": test_share,
        "seed": seed,
        "ratings": "pseudo-MOS from KADID-10k's means by distortion and strength" if "score" in plan.tasks else None,
    }
    _report(folder, write_dataset(folder, rows, card))


@app.command()
def biq2021(
    source: Annotated[Path, typer.Argument(help="Folder with Images/ and the MOS tables.")],
    out: Out = None,
    reasoning: Reasoning = False,
    test_share: TestShare = 0.1,
    seed: Seed = 0,
    workers: Workers = CORES,
) -> None:
    """BIQ2021: camera photos with MOS 0-1. The official split when both tables are there, else held out by content."""
    from qinsight_cli.core.datasets import biq2021 as dataset
    from qinsight_cli.core.manifest import write_dataset
    from qinsight_cli.core.report.progress import progress_bar

    folder = (out or Path("data/biq2021")).resolve()
    rated, missing = dataset.read_labels(source.resolve())
    with progress_bar("images", len(rated)) as advance:
        rows, bad = dataset.prepare(
            rated, reasoning=reasoning, test_share=test_share, seed=seed, workers=workers, progress=advance
        )
    for name in missing:
        typer.echo(f"warning: {name}: labelled, but the image is not there; left out", err=True)
    for line in bad:
        typer.echo(f"warning: {line}; left out", err=True)
    card = {
        "name": "biq2021",
        "label": {"range": [min(item.mos for item in rated), max(item.mos for item in rated)], "higher_better": True},
        "missing": len(missing),
        "broken": len(bad),
        "test_share": test_share,
        "seed": seed,
    }
    _report(folder, write_dataset(folder, rows, card))


def _rated_photos(dataset: Path, min_rating: float) -> dict[Path, str]:
    """The photos of a prepared score dataset rated at least `min_rating`, each with its split."""
    from qinsight_cli.core.errors import QInsightError
    from qinsight_cli.core.manifest import read_split

    rows = [row for file in sorted(dataset.glob("*.jsonl")) for row in read_split(dataset, file.stem, ["score"])]
    photos = {row.images["image"].resolve(): row.split for row in rows if row.truth["rating"] >= min_rating}
    if not photos:
        raise QInsightError(f"{dataset} holds no photo rated {min_rating} or more")
    return photos


def _task_names(text: str) -> tuple[str, ...]:
    from qinsight_cli.core.errors import UsageError
    from qinsight_cli.core.tasks import TASKS

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UsageError(f"--tasks {text!r}: tasks are {', '.join(TASKS)}, separated by commas")
    return names


def _report(folder: Path, card: dict) -> None:
    typer.echo(f"wrote {folder}")
    for name, count in card["counts"].items():
        typer.echo(f"  {name:24} {count:8,}")
