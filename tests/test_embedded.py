"""The embedded model as it is shipped: its size, and what it must be able to tell on photos it was not trained on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.cli import run
from qinsight_cli.core.data.distortions import distort
from qinsight_cli.core.models.names import TINY_FOLDER
from qinsight_cli.core.tasks.degradation import DISTORTIONS, NONE

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, photos: Callable[[str], NDArray[np.uint8]]) -> Path:
    """Real photos, each clean and under every distortion at its worst, as PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in PHOTOS:
        clean = photos(name)
        Image.fromarray(clean).save(folder / f"{name}.png")
        for distortion in DISTORTIONS:
            damaged, _ = distort(clean, distortion, "catastrophic", np.random.default_rng(0))
            Image.fromarray(damaged).save(folder / f"{name}-{distortion}.png")
    return folder


def ask(verb: str, *arguments: str, out: Path) -> list[dict]:
    assert run([verb, *arguments, "--jsonl", str(out)]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_it_fits_in_16_megabytes_with_its_card() -> None:
    assert sum(path.stat().st_size for path in TINY_FOLDER.iterdir() if path.is_file()) <= 16_000_000
    assert (TINY_FOLDER / "README.md").is_file()


def test_clean_photos_are_rated_above_their_worst_versions(pictures: Path, tmp_path: Path) -> None:
    rows = ask("score", str(pictures), out=tmp_path / "scores.jsonl")
    rating = {Path(row["path"]).stem: row["rating"] for row in rows}
    pairs = [(name, f"{name}-{distortion}") for name in PHOTOS for distortion in DISTORTIONS]
    assert sum(rating[clean] > rating[worst] for clean, worst in pairs) >= 0.8 * len(pairs)


def test_the_worst_damage_is_named(pictures: Path, tmp_path: Path) -> None:
    rows = ask("degrade", str(pictures), out=tmp_path / "damage.jsonl")
    truth = {Path(row["path"]).stem: [*Path(row["path"]).stem.split("-"), NONE][1] for row in rows}
    right = sum(row["distortion"] == truth[Path(row["path"]).stem] for row in rows)
    assert right >= 0.55 * len(rows)  # chance is 0.2


def test_reasoning_depends_on_the_picture(pictures: Path, tmp_path: Path) -> None:
    rows = ask("score", str(pictures), out=tmp_path / "scores.jsonl")
    assert len({row["reasoning"] for row in rows}) >= len(rows) // 2


def test_comparison_prefers_the_clean_photo(pictures: Path, tmp_path: Path) -> None:
    right = 0
    for name in PHOTOS:
        clean, damaged = str(pictures / f"{name}.png"), str(pictures / f"{name}-noise.png")
        (row,) = ask("compare", clean, damaged, out=tmp_path / f"{name}.jsonl")
        right += row["winner"] == "Image A"
    assert right >= len(PHOTOS) - 1


def test_kadid_levels_are_ordered_as_people_order_them(data_dir: Path, tmp_path: Path) -> None:
    # KADID-10k: I01_01_02 has a MOS of 4.33, I01_01_05 of 1.10 (Gaussian blur at two strengths).
    better, worse = (str(data_dir / "samples" / f"I01_01_0{level}.png") for level in (2, 5))
    rows = ask("score", better, worse, out=tmp_path / "kadid.jsonl")
    assert rows[0]["rating"] > rows[1]["rating"]
