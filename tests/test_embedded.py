"""The embedded model as it is shipped: its size, and what it must be able to tell on photos it was not trained on.

The thresholds lie below the figures measured for its model card, by more than a sample of this size may miss them by.
Where a goal is missed (docs/tiny.md says which), they are below it.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.cli import run
from qinsight_cli.core.data.distortions import distort
from qinsight_cli.core.data.readers import biq2021
from qinsight_cli.core.data.reasoning import check_statements, measure_image
from qinsight_cli.core.data.splits import draw_unit
from qinsight_cli.core.metrics import plcc, srcc
from qinsight_cli.core.models.names import TINY_FOLDER
from qinsight_cli.core.tasks.degradation import DISTORTIONS

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
MEGABYTE = 1_000_000


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


@pytest.fixture(scope="module")
def scores(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return ask("score", str(pictures), out=tmp_path_factory.mktemp("scores") / "scores.jsonl")


def test_it_fits_in_20_megabytes_with_its_card() -> None:
    assert sum(path.stat().st_size for path in TINY_FOLDER.iterdir() if path.is_file()) <= 20 * MEGABYTE
    assert (TINY_FOLDER / "README.md").is_file()


def test_clean_photos_are_rated_above_their_worst_versions(scores: list[dict]) -> None:
    rating = {Path(row["path"]).stem: row["rating"] for row in scores}
    for name in PHOTOS:
        for distortion in DISTORTIONS:
            assert rating[name] > rating[f"{name}-{distortion}"], (name, distortion)


def test_ratings_are_fine_enough_to_sort_by(scores: list[dict]) -> None:
    assert len({row["rating"] for row in scores}) == len(scores)
    assert all(row["rating_std"] > 0 for row in scores)


def test_the_worst_damage_and_its_absence_are_named(pictures: Path, tmp_path: Path) -> None:
    rows = ask("degrade", str(pictures), out=tmp_path / "damage.jsonl")
    truth = {Path(row["path"]).stem: [*Path(row["path"]).stem.split("-"), "none"][1] for row in rows}
    right = sum(row["distortion"] == truth[Path(row["path"]).stem] for row in rows)
    assert right >= 0.8 * len(rows)  # chance is 0.2


def test_what_it_says_is_true_of_the_pixels(scores: list[dict]) -> None:
    """Four statements a picture; the goal is that 0.9 of them are true. Those of another picture would not be."""
    measures = []
    for row in scores:
        with Image.open(row["path"]) as image:
            measures.append(measure_image(image.convert("RGB")))
    right = np.array([[check_statements(row["reasoning"], each)[0] for each in measures] for row in scores])
    total = sum(check_statements(row["reasoning"], each)[1] for row, each in zip(scores, measures, strict=True))
    assert total == 4 * len(scores)
    own, others = right.trace(), (right.sum() - right.trace()) / (len(scores) - 1)
    assert own >= 0.9 * total
    assert own >= others + 2 * np.sqrt(total * 0.25)  # two standard deviations of as many coin tosses


@pytest.mark.parametrize("verb", ["score", "degrade"])
def test_every_shape_and_noise_are_read(verb: str, photos: Callable[[str], NDArray[np.uint8]], tmp_path: Path) -> None:
    """Sides of up to 6 : 1 and pictures of nothing but noise: earlier weights gave no answer tag for some."""
    photo, rng = photos("coffee"), np.random.default_rng(3)
    for share in (3, 4, 6):
        high, wide = photo.shape[0] // share, photo.shape[1] // share
        Image.fromarray(photo[:high]).save(tmp_path / f"wide-{share}.png")
        Image.fromarray(photo[:, :wide]).save(tmp_path / f"tall-{share}.png")
    for number, shape in enumerate([(256, 256, 3), (240, 320, 3), (384, 512, 3)]):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"noise-{number}.png")
    rows = ask(verb, str(tmp_path), out=tmp_path / "rows.jsonl")
    assert [row["error"] for row in rows] == [None] * 9


def test_comparison_prefers_the_clean_photo_in_both_orders(pictures: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    lines = [f"{pictures}/{name}.png,{pictures}/{name}-{damage}.png" for name in PHOTOS for damage in DISTORTIONS]
    pairs.write_text("image_a,image_b\n" + "\n".join(lines) + "\n")
    rows = ask("compare", "--pairs", str(pairs), "--both-orders", out=tmp_path / "pairs.jsonl")
    assert sum(row["winner"] == "Image A" for row in rows) >= 0.8 * len(rows)
    assert sum(row["agreement"] == "agree" for row in rows) >= 0.8 * len(rows)


def test_ratings_follow_people_on_photos_held_out(data_dir: Path, tmp_path: Path) -> None:
    """Photos of BIQ2021 whose names fall into the tenth that `prepare biq2021` holds out."""
    labels = biq2021.read(data_dir / "biq2021").labels
    held_out = [label for label in labels if draw_unit(0, label.images["image"]) < 0.1][:150]
    names = [data_dir / "biq2021" / "Images" / label.images["image"] for label in held_out]
    kept = [(path, label.raw) for path, label in zip(names, held_out, strict=True) if path.is_file()]
    assert len(kept) > 100
    rows = ask("score", *(str(path) for path, _ in kept), out=tmp_path / "biq.jsonl")
    ratings, opinions = [row["rating"] for row in rows], [opinion for _, opinion in kept]
    assert plcc(ratings, opinions) >= 0.8
    assert srcc(ratings, opinions) >= 0.75


def test_kadid_levels_are_ordered_as_people_order_them(data_dir: Path, tmp_path: Path) -> None:
    # KADID-10k: I01_01_02 has a MOS of 4.33, I01_01_05 of 1.10 (Gaussian blur at two strengths).
    better, worse = (str(data_dir / "samples" / f"I01_01_0{level}.png") for level in (2, 5))
    rows = ask("score", better, worse, out=tmp_path / "kadid.jsonl")
    assert rows[0]["rating"] > rows[1]["rating"]
