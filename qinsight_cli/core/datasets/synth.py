"""`synth`: photos damaged by our own distortions, for the degradation task, and for score and comparison on demand.

Class and severity are balanced within each photo. The clean photo itself is a row of class "null". With the score
task every picture also gets a pseudo-MOS, and with comparison the pictures of one photo are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from qinsight_cli.core import explain
from qinsight_cli.core.distortions import distort
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.manifest import Sample
from qinsight_cli.core.similar import difference_hash, groups, split_by_group
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

# Pseudo-MOS of a damaged photo, 1-5: the mean human MOS of KADID-10k (Lin et al., 2019) for the nearest of its
# distortion types (white noise and impulse; Gaussian, lens and motion blur; JPEG and JPEG2000; darken), read off at the
# strengths of our generators and averaged over them. KADID-10k does not rate its clean references: 4.7 lies just above
# its mildest damage.
PSEUDO_MOS = {
    "noise": (3.0, 2.4, 2.1, 1.8, 1.5),
    "blur": (2.9, 2.1, 1.8, 1.5, 1.35),
    "compression": (3.6, 3.0, 2.4, 1.9, 1.45),
    "darken": (4.4, 4.1, 3.7, 3.3, 2.8),
}
PSEUDO_MOS_CLEAN = 4.7
# Two pictures of one photo whose pseudo-MOS differ by less are "Similar"; between this and `CLEARLY` no pair is made.
SIMILAR, CLEARLY = 0.1, 0.4


@dataclass(frozen=True)
class Variant:
    """One picture of one photo. `path` is the written picture, or the photo itself for "null"."""

    path: Path
    distortion: str
    severity: str
    generator: str
    measures: explain.Measures

    @property
    def damage(self) -> tuple[str, str]:
        return self.distortion, self.severity

    @property
    def rating(self) -> float:
        return pseudo_mos(self.distortion, self.severity)


@dataclass(frozen=True)
class Plan:
    """What `synthesise` makes of every photo. `pairs` counts comparison rows a photo."""

    out: Path
    per_photo: int
    tasks: tuple[str, ...]
    pairs: int
    reasoning: bool
    seed: int


def pseudo_mos(distortion: str, severity: str) -> float:
    return PSEUDO_MOS_CLEAN if distortion == NULL else PSEUDO_MOS[distortion][SEVERITIES.index(severity)]


def synthesise(
    photos: Sequence[Path],
    plan: Plan,
    test_share: float,
    known_splits: Mapping[Path, str],
    workers: int,
    progress: Callable[[], None],
) -> Iterator[Sample]:
    """Rows for all photos, whole photos (and their near-duplicates) in one split; writes pictures below `out`/images.

    Photos in `known_splits` keep the split they have elsewhere. Raises QInsightError naming a photo that cannot be read.
    """
    (plan.out / "images").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        new = [photo for photo in photos if photo not in known_splits]
        hashes = list(pool.map(hash_photo, new, chunksize=8))
        drawn = split_by_group(groups(hashes), [photo.name for photo in new], test_share, plan.seed)
        split_of = {**known_splits, **dict(zip(new, drawn, strict=True))}
        splits = [split_of[photo] for photo in photos]
        for samples in pool.map(partial(_rows_of_photo, plan), photos, splits, chunksize=2):
            progress()
            yield from samples


def hash_photo(photo: Path) -> int:
    try:
        return difference_hash(load_image(photo).image)
    except ImageError as error:
        raise QInsightError(f"{photo}: {error}") from error


def _rows_of_photo(plan: Plan, photo: Path, split: str) -> list[Sample]:
    import cv2

    cv2.setNumThreads(1)  # the pool already uses every core
    name = photo_name(photo)
    rng = np.random.default_rng(_seed_of(f"{plan.seed}:{name}"))
    variants = _make_variants(plan, photo, name, rng)
    samples: list[Sample] = []
    for task in plan.tasks:
        if task == "comparison":
            samples += _comparisons(plan, variants, name, split, rng)
        else:
            samples += [_single(plan, task, variant, name, split, rng) for variant in variants]
    return samples


def _make_variants(plan: Plan, photo: Path, name: str, rng: np.random.Generator) -> list[Variant]:
    """The clean photo and `per_photo` damaged ones, all (class, severity) pairs equally often, in a random order."""
    clean = load_image(photo).image
    variants = [Variant(photo, NULL, NULL, "none", explain.measure(clean))]
    pixels = np.asarray(clean)
    pairs = [(distortion, severity) for distortion in DISTORTIONS for severity in SEVERITIES]
    for index in range(plan.per_photo):
        if index % len(pairs) == 0:
            rng.shuffle(pairs)
        distortion, severity = (str(part) for part in pairs[index % len(pairs)])
        damaged, generator = distort(pixels, distortion, severity, rng)
        picture = Image.fromarray(damaged)
        path = plan.out / "images" / f"{name}-{index:03d}-{distortion}-{severity}.png"
        picture.save(path, compress_level=1)  # lossless, so that the damage is exactly the generator's
        variants.append(Variant(path, distortion, severity, generator, explain.measure(picture)))
    return variants


def _single(plan: Plan, task: str, variant: Variant, name: str, split: str, rng: np.random.Generator) -> Sample:
    rated = task == "score"
    truth = {"rating": variant.rating} if rated else {"distortion": variant.distortion, "severity": variant.severity}
    reasoning = ""
    if plan.reasoning:
        reasoning = explain.describe(variant.measures, rng, variant.rating if rated else None, variant.damage)
    return Sample(
        id=f"{task}/{variant.path.stem}",
        task=task,
        split=split,
        source="synth",
        images={"image": variant.path},
        truth=truth,
        reasoning=reasoning,
        extra={"content": name, "generator": variant.generator, "pseudo_mos": variant.rating},
    )


def _comparisons(plan: Plan, variants: list[Variant], name: str, split: str, rng: np.random.Generator) -> list[Sample]:
    """Pairs of pictures of one photo, every second one with the clean photo as its reference; the order is random."""
    samples: list[Sample] = []
    tries = 0
    while len(samples) < plan.pairs and tries < 50 * plan.pairs:
        tries += 1
        first, second = (variants[index] for index in rng.choice(len(variants), 2, replace=False))
        referenced = len(samples) % 2 == 0
        winner = _winner(first.rating, second.rating)
        if winner is None or (winner == "Similar" and not referenced):  # without a reference "Similar" is not offered
            continue
        images = {"image_a": first.path, "image_b": second.path}
        if referenced:
            images = {"reference": variants[0].path, **images}
        ratings = (first.rating, second.rating)
        samples.append(
            Sample(
                id=f"comparison/{name}-{len(samples):03d}",
                task="comparison",
                split=split,
                source="synth",
                images=images,
                truth={"winner": winner},
                raw_label=list(ratings),
                reasoning=explain.compare(first.damage, second.damage, ratings, rng) if plan.reasoning else "",
                extra={"content": name},
            )
        )
    return samples


def _winner(first: float, second: float) -> str | None:
    if abs(first - second) < SIMILAR:
        return "Similar"
    if abs(first - second) < CLEARLY:
        return None
    return "Image A" if first > second else "Image B"


def photo_name(photo: Path) -> str:
    """A file name part that is the photo's own: its stem, made plain, and four hex digits of its path."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in photo.stem)
    return f"{plain}-{hashlib.sha256(photo.name.encode()).hexdigest()[:4]}"


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def check_plan(plan: Plan, photos: Sequence[Path]) -> None:
    if plan.per_photo < 1:
        raise QInsightError(f"--per-photo {plan.per_photo}: at least 1 damaged picture a photo")
    if not photos:
        raise QInsightError("no photos to damage were found")
    names = [photo_name(photo) for photo in photos]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise QInsightError(f"two photos share the name {sorted(twice)[0]!r}; rename one")
