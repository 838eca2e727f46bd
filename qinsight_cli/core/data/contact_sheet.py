"""A contact sheet: one photo under every generator of every class at all severities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from qinsight_cli.core.data.distortions import GENERATORS, distort
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.tasks.degradation import SEVERITIES

TILE = (192, 144)  # of the photo's own pixels: downscaling would hide noise and blocks
LABEL, HEAD, GAP = 150, 28, 4


def draw_contact_sheet(photo: Path, sheet: Path, seed: int) -> int:
    """Write the sheet: one row per generator, one column for clean and for each severity. Returns its rows.

    The whole photo is damaged at full size; the sheet shows its centre.
    Raises QInsightError if the sheet cannot be written, ImageError if the photo cannot be read.
    """
    pixels = np.asarray(load_image(photo).image)
    rows = [(kind, name) for kind, names in GENERATORS.items() for name in names]
    width = LABEL + (len(SEVERITIES) + 1) * (TILE[0] + GAP)
    page = Image.new("RGB", (width, HEAD + len(rows) * (TILE[1] + GAP)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for column, title in enumerate(("no distortion", *SEVERITIES)):
        pen.text((LABEL + column * (TILE[0] + GAP) + 4, 6), title, "black", font)
    for index, (kind, name) in enumerate(rows):
        top = HEAD + index * (TILE[1] + GAP)
        pen.text((6, top + 6), f"{kind}\n{name.replace('_', ' ')}", "black", font)
        page.paste(_middle(pixels), (LABEL, top))
        for column, severity in enumerate(SEVERITIES, 1):
            rng = np.random.default_rng([seed, index, column])
            damaged, _ = distort(pixels, kind, severity, rng, generator=name)
            page.paste(_middle(damaged), (LABEL + column * (TILE[0] + GAP), top))
    try:
        page.save(sheet)
    except (OSError, ValueError) as error:
        raise QInsightError(f"cannot write the contact sheet {sheet}: {error}") from None
    return len(rows)


def _middle(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    left, top = (max(0, (whole - part) // 2) for whole, part in zip(image.size, TILE, strict=True))
    return image.crop((left, top, left + min(TILE[0], image.width), top + min(TILE[1], image.height)))
