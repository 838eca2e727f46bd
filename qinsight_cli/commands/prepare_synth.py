"""`qinsight prepare synth`: photos with synthetic distortions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qinsight_cli.commands.console import progress, write
from qinsight_cli.commands.flat import flat, written
from qinsight_cli.commands.prepare_dataset import CORES, Making, Reasoning, SkipBad, Workers, folder_of, report
from qinsight_cli.core.errors import ImageError, QInsightError, UsageError
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.comparison import TASK as COMPARISON
from qinsight_cli.core.tasks.degradation import TASK as DEGRADATION
from qinsight_cli.core.tasks.score import TASK as SCORE

if TYPE_CHECKING:
    from qinsight_cli.core.data.synth import SynthSettings


@dataclass(frozen=True, kw_only=True)
class Damaging(Making):
    """Which photos to damage, how, and which rows to write."""

    clean_from: Annotated[
        Path | None, typer.Option("--from", help="A prepared score dataset; takes its photos from --min-rating up.")
    ] = None
    min_rating: Annotated[float, typer.Option("--min-rating", help="With --from: lowest rating of a clean photo.")] = (
        4.2
    )
    per_photo: Annotated[int, typer.Option("--per-photo", help="Damaged pictures per photo.")] = 20
    null_share: Annotated[
        str | None,
        typer.Option(
            "--null-share",
            metavar="SHARE|paper",
            help="Share of undistorted rows; paper: as in its test set, 121 of 1,000. (default: the photo itself, "
            "1 of 21)",
        ),
    ] = None
    tasks: Annotated[str, typer.Option("--tasks", help="Rows to write: degradation, score, comparison.")] = (
        DEGRADATION.name
    )
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="Comparison rows per photo.")] = 8
    reasoning: Reasoning = False
    test_share: Annotated[
        float, typer.Option("--test-share", min=0.0, max=1.0, help="Share of photos to hold out.")
    ] = 0.15
    varied: Annotated[
        bool,
        typer.Option("--varied", help="Damage crops of random sizes, with many implementations of each distortion."),
    ] = False
    skip_bad: SkipBad = False
    workers: Workers = CORES
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N photos.")] = None
    contact_sheet: Annotated[
        Path | None,
        written("--contact-sheet", metavar="FILE", help="Only draw one photo with all distortions to FILE."),
    ] = None


@flat
def synth(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="PHOTO", help="Clean photos: files, folders, quoted globs.")
    ] = None,
    *,
    options: Damaging,
) -> None:
    """Distort clean photos by noise, blur, compression and darkening at five severities."""
    from qinsight_cli.core.data.synth import SynthSettings, check_settings
    from qinsight_cli.core.images.find import find_images

    if options.contact_sheet is not None:
        _draw_sheet(sources, options.contact_sheet, options.seed)
        return
    photos = [Path(path).resolve() for path in find_images(sources)] if sources else []
    rated = _rated_photos(options.clean_from, options.min_rating) if options.clean_from else {}
    known_splits = {photo: split for photo, (split, _) in rated.items()}
    ratings = {photo: rating for photo, (_, rating) in rated.items()}
    photos = list(dict.fromkeys([*photos, *known_splits]))[: options.limit]
    shared = ("per_photo", "pairs", "reasoning", "seed", "varied")
    settings = SynthSettings(
        out=folder_of(options.out, "synth"),
        tasks=_task_names(options.tasks),
        ratings=ratings,
        null_share=_share(options.null_share),
        **{name: getattr(options, name) for name in shared},
    )
    check_settings(settings, photos)
    _make(settings, photos, known_splits, options)


def _share(words: str | None) -> float | None:
    """The value of --null-share: a number or a name. Raises UsageError for anything else."""
    from qinsight_cli.core.data.synth_rows import NULL_SHARES

    if words is None or words in NULL_SHARES:
        return NULL_SHARES.get(words or "")
    try:
        return float(words)
    except ValueError:
        names = ", ".join(NULL_SHARES)
        raise UsageError(f"--null-share {words}: give a number of at least 0 and below 1, or {names}") from None


def _make(settings: SynthSettings, photos: Sequence[Path], known_splits: Mapping[Path, str], options: Damaging) -> None:
    """Distort the photos, write the dataset, and print a summary."""
    from qinsight_cli.core.data.card import claimed
    from qinsight_cli.core.data.manifest import write_dataset
    from qinsight_cli.core.data.problems import count_by_kind, refuse_bad_images, write_problems
    from qinsight_cli.core.data.synth import synthesise

    card = _card(settings, photos, known_splits, options.test_share)
    with claimed(settings.out, card, options.force):
        with progress("photos", len(photos)) as advance:
            rows, problems = synthesise(photos, settings, options.test_share, known_splits, options.workers, advance)
        write_problems(settings.out, problems)
        refuse_bad_images(settings.out, problems, f"{len(photos):,} photos", options.skip_bad)
        card["problems"] = count_by_kind(problems)
        made = write_dataset(settings.out, rows, card, options.force)
    report(settings.out, made, problems)


def _card(
    settings: SynthSettings, photos: Sequence[Path], known_splits: Mapping[Path, str], test_share: float
) -> dict[str, Any]:
    """The origin of the dataset, for its card. Options that are not used are left out."""
    named = [(photo.name, known_splits.get(photo), settings.ratings.get(photo)) for photo in photos]
    card: dict[str, Any] = {
        "name": "synth",
        "photos": len(photos),
        "photos_digest": hashlib.sha256(json.dumps(named).encode()).hexdigest(),
        "tasks": settings.tasks,
        "per_photo": settings.per_photo,
        "test_share": test_share,
        "seed": settings.seed,
    }
    if COMPARISON.name in settings.tasks:
        card["pairs"] = settings.pairs
    if settings.null_share is not None:
        card["null_share"] = settings.null_share
    card |= {name: True for name in ("varied", "reasoning") if getattr(settings, name)}
    rated = SCORE.name in settings.tasks
    return {**card, "ratings": "pseudo-MOS from KADID-10k's means by distortion and strength" if rated else None}


def _draw_sheet(sources: Sequence[str] | None, sheet: Path, seed: int) -> None:
    from qinsight_cli.core.data.contact_sheet import draw_contact_sheet
    from qinsight_cli.core.images.find import find_images

    photo = Path(find_images(sources)[0]) if sources else _any_photo()
    try:
        rows = draw_contact_sheet(photo, sheet, seed)
    except ImageError as error:
        raise QInsightError(f"{photo}: {error}") from error
    write(f"wrote {sheet}: {photo.name} with {rows} distortions at 5 severities")


def _any_photo() -> Path:
    """A portrait that comes with scikit-image."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "astronaut.png"


def _rated_photos(dataset: Path, min_rating: float) -> dict[Path, tuple[str, float]]:
    """The photos of a prepared score dataset rated at least `min_rating`, each with its split and rating."""
    from qinsight_cli.core.data.manifest import read_split

    rows = [row for file in sorted(dataset.glob("*.jsonl")) for row in read_split(dataset, file.stem, [SCORE.name])]
    photos = {
        row.images["image"].resolve(): (row.split, row.truth["rating"])
        for row in rows
        if row.truth["rating"] >= min_rating
    }
    if not photos:
        raise QInsightError(f"{dataset} has no photo rated {min_rating} or more; give a lower --min-rating")
    return photos


def _task_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UsageError(f"--tasks {text!r}: tasks are {', '.join(TASKS)}, separated by commas")
    return names
