"""`synth`: photos damaged by our own distortions, for the degradation task, and for score and comparison on demand.

Class and severity are balanced within each photo. The clean photo itself is a row of class "null": one of 21 rows, or
4.8 %, with 20 damaged pictures a photo; `null_share` asks for another share. With the score task every picture also
gets a pseudo-MOS, and with comparison the pictures of one photo are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from qinsight_cli.core.data.distortions import distort
from qinsight_cli.core.data.manifest import FileFacts, Sample
from qinsight_cli.core.data.names import distinct_names
from qinsight_cli.core.data.near_duplicates import difference_hash, near_duplicate_groups
from qinsight_cli.core.data.problems import BROKEN, Problem, look_alike_problems, near_duplicate_problems
from qinsight_cli.core.data.process_pool import process_pool
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS_CLEAN
from qinsight_cli.core.data.reasoning import measure_image
from qinsight_cli.core.data.splits import seed_of, split_by_group
from qinsight_cli.core.data.synth_rows import (
    CLEARLY,
    SIMILAR,
    SynthSettings,
    Variant,
    null_rows,
    pair_row,
    photo_name,
    single_row,
    write_variant,
)
from qinsight_cli.core.data.synth_varied import UNRATED, varied_rows
from qinsight_cli.core.errors import ImageError, QInsightError, UsageError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.tasks import comparison, degradation
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES


@dataclass(frozen=True)
class _Made:
    """The result for one photo: its difference hash and its rows, not yet split."""

    hash: int | None
    samples: list[Sample]


def synthesise(
    photos: Sequence[Path],
    settings: SynthSettings,
    test_share: float,
    known_splits: Mapping[Path, str],
    workers: int,
    progress: Callable[[], None],
) -> tuple[list[Sample], list[Problem]]:
    """Rows for all photos, whole photos (and their near-duplicates) in one split; writes pictures below `out`/images.

    Photos in `known_splits` keep that split. A photo that cannot be read is a problem and has no rows; near-duplicates
    across splits, which only known splits can cause, are problems too.
    """
    made: dict[Path, _Made] = {}
    problems = []
    name_of = distinct_names(photos)
    with process_pool(workers) as each:
        stems = Counter(photo.stem for photo in photos)
        named = [(p, name_of[p], p.stem if stems[p.stem] == 1 else name_of[p]) for p in photos]
        for photo, result in zip(photos, each(partial(_rows_of_photo, settings), named, 2), strict=True):
            progress()
            if isinstance(result, _Made):
                made[photo] = result
            else:
                problems.append(Problem(BROKEN, str(photo), result))
    new = [photo for photo in made if photo not in known_splits]
    hashes = [made[photo].hash for photo in new]
    names = [name_of[photo] for photo in new]
    drawn = split_by_group(near_duplicate_groups(hashes), names, test_share, settings.seed)
    problems += look_alike_problems(names, hashes)
    split_of = {**known_splits, **dict(zip(new, drawn, strict=True))}
    problems += near_duplicate_problems(
        list(made), [one.hash for one in made.values()], [split_of[photo] for photo in made]
    )
    rows = [replace(row, split=split_of[photo]) for photo, one in made.items() for row in one.samples]
    return rows, problems


def _rows_of_photo(settings: SynthSettings, named: tuple[Path, str, str]) -> _Made | str:
    """The pictures and rows of one photo (its path, its name, the id of the photo itself), or why there are none.

    Raises QInsightError if writing fails.
    """
    import cv2

    cv2.setNumThreads(1)  # the pool already uses every core
    try:
        return _made_of(settings, *named)
    except QInsightError:
        raise
    except (OSError, ValueError, ArithmeticError, MemoryError, cv2.error) as error:
        # Such as a side too long for JPEG.
        return f"cannot be damaged: {' '.join(str(error).split()) or type(error).__name__}"


def _made_of(settings: SynthSettings, photo: Path, photo_named: str, clean_id: str) -> _Made | str:
    name = photo_name(photo_named)
    rng = np.random.default_rng(seed_of(f"{settings.seed}:{name}"))
    try:
        loaded = load_image(photo)
    except ImageError as error:
        return str(error)
    clean = loaded.image
    facts = FileFacts(loaded.digest, loaded.width, loaded.height)
    if settings.varied:
        return _Made(
            difference_hash(clean), varied_rows(settings, clean, name, settings.ratings.get(photo, UNRATED), rng)
        )
    variants = [Variant(photo, NULL, NULL, "none", measure_image(clean), facts, PSEUDO_MOS_CLEAN)]
    variants += _damaged(settings, clean, name, rng)
    nulls = null_rows(settings, name)
    samples: list[Sample] = []
    for task in settings.tasks:
        if task == comparison.TASK.name:
            samples += _comparisons(settings, variants, name, rng)
            continue
        rows = [single_row(settings, task, variant, name) for variant in variants]
        rows[0] = replace(rows[0], id=f"{task}/{clean_id}")
        if task == degradation.TASK.name:
            crop_rng = np.random.default_rng(seed_of(f"{settings.seed}:{name}:crops"))
            crops = [_crop(settings, clean, name, index, crop_rng) for index in range(1, nulls)]
            rows = rows[nulls < 1 :] + [single_row(settings, task, crop, name) for crop in crops]
        samples += rows
    return _Made(difference_hash(clean), samples)


def _damaged(settings: SynthSettings, clean: Image.Image, name: str, rng: np.random.Generator) -> list[Variant]:
    """`per_photo` damaged pictures, all (class, severity) pairs equally often, in a random order."""
    variants = []
    pixels = np.asarray(clean)
    pairs = [(distortion, severity) for distortion in DISTORTIONS for severity in SEVERITIES]
    for index in range(settings.per_photo):
        if index % len(pairs) == 0:
            rng.shuffle(pairs)
        distortion, severity = (str(part) for part in pairs[index % len(pairs)])
        damaged, generator = distort(pixels, distortion, severity, rng)
        path = settings.out / "images" / f"{name}-{index:03d}-{distortion}-{severity}.png"
        variants.append(write_variant(path, Image.fromarray(damaged), distortion, severity, generator))
    return variants


def _crop(settings: SynthSettings, clean: Image.Image, name: str, index: int, rng: np.random.Generator) -> Variant:
    """An undistorted picture that is not the photo itself: 80-95 % of its width and height, at a random place."""
    width, height = (max(1, round(side * rng.uniform(0.8, 0.95))) for side in clean.size)
    left, top = (int(rng.integers(whole - part + 1)) for whole, part in zip(clean.size, (width, height), strict=True))
    picture = clean.crop((left, top, left + width, top + height))
    return write_variant(settings.out / "images" / f"{name}-null-{index:03d}.png", picture, NULL, NULL, "crop")


def _comparisons(settings: SynthSettings, variants: list[Variant], name: str, rng: np.random.Generator) -> list[Sample]:
    """Pairs of pictures of one photo, every second one with the clean photo as its reference; the order is random."""
    samples: list[Sample] = []
    tries = 0
    while len(samples) < settings.pairs and tries < 50 * settings.pairs:
        tries += 1
        first, second = (variants[index] for index in rng.choice(len(variants), 2, replace=False))
        referenced = len(samples) % 2 == 0
        winner = _winner(first.rating, second.rating)
        if winner is None or (winner == "Similar" and not referenced):  # without a reference "Similar" is not offered
            continue
        reference = variants[0] if referenced else None
        samples.append(pair_row(settings, name, len(samples), (first, second), reference, winner))
    return samples


def _winner(first: float, second: float) -> str | None:
    if abs(first - second) < SIMILAR:
        return "Similar"
    if abs(first - second) < CLEARLY:
        return None
    return "Image A" if first > second else "Image B"


def check_settings(settings: SynthSettings, photos: Sequence[Path]) -> None:
    """Raises UsageError or QInsightError if the settings do not fit the photos."""
    if settings.per_photo < 1:
        raise UsageError(f"--per-photo {settings.per_photo}: at least 1 damaged picture a photo")
    if settings.null_share is not None and not 0.0 <= settings.null_share < 1.0:
        raise UsageError(f"--null-share {settings.null_share:g}: a share from 0 up to, but not, 1")
    if not photos:
        raise QInsightError("no photos to damage were found")
