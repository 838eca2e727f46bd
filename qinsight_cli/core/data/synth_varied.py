"""`synth --varied`: parts of a photo at random sizes under many kinds of damage, and pairs of versions of one part."""

from __future__ import annotations

import numpy as np
from PIL import Image

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS_CLEAN, pseudo_mos
from qinsight_cli.core.data.synth_rows import (
    CLEARLY,
    SynthSettings,
    Variant,
    null_rows,
    pair_row,
    single_row,
    write_variant,
)
from qinsight_cli.core.data.varied_distortions import frame_size, framed, varied
from qinsight_cli.core.data.versions import barely_changed, draw_version, make_version, version_rating
from qinsight_cli.core.tasks import comparison
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NULL, SEVERITIES

UNRATED = 4.1  # the rating of a part of an unrated clean photo: what raters of BIQ2021 give a good photo


def varied_rows(
    settings: SynthSettings, clean: Image.Image, name: str, best: float, rng: np.random.Generator
) -> list[Sample]:
    """Rows of one photo with `varied`: damaged and undamaged parts of it, and pairs of versions of one part.

    best  the rating of an undamaged part; damage lowers it in proportion to how it lowers `PSEUDO_MOS_CLEAN`
    """
    variants = []
    pairs = [(distortion, severity) for distortion in DISTORTIONS for severity in SEVERITIES]
    rng.shuffle(pairs)
    kinds = [(str(pairs[i % len(pairs)][0]), str(pairs[i % len(pairs)][1])) for i in range(settings.per_photo)]
    kinds += [(NULL, NULL)] * null_rows(settings, name)
    for index, (distortion, severity) in enumerate(kinds):
        picture, generator = varied(clean, distortion, severity, rng)
        path = settings.out / "images" / f"{name}-{index:03d}-{distortion}-{severity}.png"
        rating = scaled_rating(pseudo_mos(distortion, severity), best)
        variants.append(write_variant(path, picture, distortion, severity, generator, rating))
    samples = [
        single_row(settings, task, variant, name)
        for task in settings.tasks
        if task != comparison.TASK.name
        for variant in variants
    ]
    if comparison.TASK.name in settings.tasks:
        samples += [_varied_pair(settings, clean, name, index, best, rng) for index in range(settings.pairs)]
    return samples


def scaled_rating(rating: float, best: float) -> float:
    """A pseudo-MOS for a photo whose undamaged rating is `best`."""
    return round(1.0 + (rating - 1.0) * (best - 1.0) / (PSEUDO_MOS_CLEAN - 1.0), 3)


def _varied_pair(
    settings: SynthSettings, clean: Image.Image, name: str, index: int, best: float, rng: np.random.Generator
) -> Sample:
    """Two versions of one part, in three of four pairs with the part as reference. One pair in five is "Similar": the
    same picture twice, or once re-encoded."""
    part = framed(clean, frame_size(clean.size, rng), rng)
    referenced = index % 4 != 3

    def version(letter: str, kind: str, severity: str) -> Variant:
        picture, generator, rating = make_version(part, kind, severity, rng)
        path = settings.out / "images" / f"{name}-pair-{index:03d}-{letter}.png"
        known = kind in (*DISTORTIONS, NULL)
        return write_variant(
            path, picture, kind if known else generator, severity, generator, scaled_rating(rating, best)
        )

    reference = version("r", NULL, NULL)
    if referenced and rng.random() < 1 / 4:
        first = version("a", *draw_version(rng))
        with Image.open(first.path) as opened:
            again = opened.convert("RGB")
        if rng.random() < 0.4:
            again = barely_changed(again, rng)
        path = settings.out / "images" / f"{name}-pair-{index:03d}-b.png"
        second = write_variant(path, again, first.distortion, first.severity, first.generator, first.rating)
        return pair_row(settings, name, index, (first, second), reference, "Similar")
    while True:
        kinds = draw_version(rng), draw_version(rng)
        lead = version_rating(*kinds[0]) - version_rating(*kinds[1])
        if abs(lead) >= CLEARLY:
            break
    first, second = version("a", *kinds[0]), version("b", *kinds[1])
    winner = "Image A" if lead > 0 else "Image B"
    return pair_row(settings, name, index, (first, second), reference if referenced else None, winner)
