"""Pictures of one photo with known damage, and their manifest rows, for `synth`."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from qinsight_cli.core.data.manifest import FileFacts, Sample
from qinsight_cli.core.data.pseudo_mos import pseudo_mos
from qinsight_cli.core.data.reasoning import Measures, describe_damage, describe_image, describe_pair, measure_image
from qinsight_cli.core.data.splits import draw_unit
from qinsight_cli.core.files import write_bytes
from qinsight_cli.core.tasks import comparison, score
from qinsight_cli.core.tasks.degradation import NULL

# Two pictures of one photo whose pseudo-MOS differ by less are "Similar"; between this and `CLEARLY` no pair is made.
SIMILAR, CLEARLY = 0.1, 0.4
# Shares of undistorted rows by name. The paper's test set has 226, 205, 222, 226 rows of the classes and 121 without
# damage.
NULL_SHARES = {"paper": 121 / 1000}
_LONGEST = 180  # bytes of a photo's name in the names of its pictures; a file name has at most 255


@dataclass(frozen=True)
class Variant:
    """One picture of one photo. `path` is the written picture, or the photo itself for "null"."""

    path: Path
    distortion: str
    severity: str
    generator: str
    measures: Measures
    facts: FileFacts
    rating: float

    @property
    def damage(self) -> tuple[str, str]:
        return self.distortion, self.severity


@dataclass(frozen=True)
class SynthSettings:
    """Settings of `synthesise`.

    pairs       comparison rows per photo
    null_share  share of degradation rows without a distortion; None for one per photo. For a smaller share some photos
                have none, for a larger one crops of the photo are added
    varied      parts of the photo at random sizes, damaged by many implementations (`varied_distortions`)
    ratings     human ratings of photos; with `varied` the rating of their undamaged parts
    """

    out: Path
    per_photo: int
    tasks: tuple[str, ...]
    pairs: int
    reasoning: bool
    seed: int
    null_share: float | None = None
    varied: bool = False
    ratings: Mapping[Path, float] = field(default_factory=dict)


def null_rows(settings: SynthSettings, name: str) -> int:
    """How many degradation rows of one photo have no distortion; the fractional part is drawn by name."""
    if settings.null_share is None:
        return 1
    wanted = settings.per_photo * settings.null_share / (1.0 - settings.null_share)
    return int(wanted) + (draw_unit(settings.seed, f"null:{name}") < wanted - int(wanted))


def write_variant(
    path: Path, picture: Image.Image, distortion: str, severity: str, generator: str, rating: float | None = None
) -> Variant:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)  # lossless, so that the damage is exactly the generator's
    data = buffer.getvalue()
    write_bytes(path, data, durable=False)
    facts = FileFacts(hashlib.sha256(data).hexdigest(), picture.width, picture.height)
    rating = pseudo_mos(distortion, severity) if rating is None else rating
    return Variant(path, distortion, severity, generator, measure_image(picture), facts, rating)


def single_row(settings: SynthSettings, task: str, variant: Variant, name: str) -> Sample:
    rated = task == score.TASK.name
    truth = {"rating": variant.rating} if rated else {"distortion": variant.distortion, "severity": variant.severity}
    reasoning = ""
    if settings.reasoning:
        # The reasoning of a rating mentions damage that is present, never its absence.
        silent = rated and variant.distortion == NULL
        reasoning = describe_image(variant.measures, None if silent else variant.damage)
    return Sample(
        id=f"{task}/{variant.path.stem}",
        task=task,
        split="",
        source="synth",
        images={"image": variant.path},
        files={"image": variant.facts},
        truth=truth,
        reasoning=reasoning,
        extra={
            "content": name,
            "generator": variant.generator,
            "damage": variant.distortion,
            "pseudo_mos": variant.rating,
        },
    )


def pair_row(
    settings: SynthSettings,
    name: str,
    number: int,
    both: tuple[Variant, Variant],
    reference: Variant | None,
    winner: str,
) -> Sample:
    roles = {} if reference is None else {"reference": reference}
    roles |= {"image_a": both[0], "image_b": both[1]}
    ratings = (both[0].rating, both[1].rating)
    return Sample(
        id=f"comparison/{name}-{number:03d}",
        task=comparison.TASK.name,
        split="",
        source="synth",
        images={role: variant.path for role, variant in roles.items()},
        files={role: variant.facts for role, variant in roles.items()},
        truth={"winner": winner},
        raw_label=list(ratings),
        reasoning=describe_pair(*(describe_damage(*one.damage) for one in both)) if settings.reasoning else "",
        extra={"content": name},
    )


def photo_name(name: str) -> str:
    """A part of file names that is unique to a photo: its simplified stem, and hex digits of the hash of its name. A
    name without folders has four digits."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in Path(name).stem)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()
    if len(plain.encode()) <= _LONGEST:
        return f"{plain}-{digest[: 16 if '/' in name else 4]}"
    return f"{plain.encode()[:_LONGEST].decode('utf-8', 'ignore')}-{digest[:16]}"
