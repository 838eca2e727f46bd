"""Plots: files that open, with the ink where the figures are, whatever is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.report import plots


def ink(path: Path, colour: tuple[int, int, int]) -> int:
    """Pixels near a colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    return int((np.abs(pixels - colour).max(axis=2) < 40).sum())


BLUE, RED = (31, 111, 178), (192, 57, 43)


def test_svg_and_pdf_stand_beside_it_the_same_each_time(tmp_path: Path) -> None:
    cloud = plots.Cloud("name of the set", [1.0, 2.0, 3.0], [1.5, 2.5, 4.5])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        plots.scatter([cloud], "m", tmp_path / folder / "s.v2.png")
    for name in ("s.v2.png", "s.v2.svg", "s.v2.pdf"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert ElementTree.parse(tmp_path / "a" / "s.v2.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a" / "s.v2.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_panel_for_each_cloud(tmp_path: Path, count: int) -> None:
    clouds = [plots.Cloud(f"set {i}", [1.0, 2.0, 3.0], [1.5, 2.5, 4.5]) for i in range(count)]
    plots.scatter(clouds, "model", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as image:
        across, down = min(4, count), math.ceil(count / 4)
        assert image.width / image.height == pytest.approx(max(4.2, 3.1 * across) / (3.2 * down + 0.4), rel=0.02)


def test_the_fitted_curve_is_drawn(tmp_path: Path) -> None:
    cloud = ([1.0, 2.0, 3.0], [1.5, 2.5, 4.5])
    plots.scatter([plots.Cloud("x", *cloud)], "m", tmp_path / "raw.png")
    plots.scatter([plots.Cloud("x", *cloud, curve=lambda values: values)], "m", tmp_path / "fit.png")
    assert ink(tmp_path / "raw.png", RED) == 0
    assert ink(tmp_path / "fit.png", RED) > 100


def radar(path: Path, measured: dict[str, list[float | None]]) -> int:
    plots.radar("ABCDEFG", {"one": [0.9] * 7, "two": [0.8, 0.7, 0.6, 0.5, 0.6, 0.7, 0.8]}, measured, path)
    return ink(path, (0, 158, 115))  # the third colour: the first measured system


def test_the_radar_with_all_some_and_none_measured(tmp_path: Path) -> None:
    whole = radar(tmp_path / "whole.png", {"mine": [0.85] * 7})
    some = radar(tmp_path / "some.png", {"mine": [0.85, 0.85, None, None, 0.85, None, None]})
    nothing = radar(tmp_path / "nothing.png", {})
    assert whole > some > nothing == 0


def test_the_radar_when_all_figures_of_an_axis_are_equal(tmp_path: Path) -> None:
    plots.radar("ABC", {"one": [0.5] * 3}, {}, tmp_path / "r.png")
    assert (tmp_path / "r.png").is_file()


def test_a_negative_correlation_has_no_length() -> None:
    for values in ([0.2, -0.6, 0.9], [-0.5, -0.1], [None, 0.4]):
        ends = plots._ends(values)
        assert 0.0 <= ends[0] < ends[1]
        assert all(plots._share(value, ends) == 0.0 for value in values if value is not None and value < 0)
    low, high = plots._ends([0.2, -0.6, 0.9])
    assert high < 1.0 == plots._ends([0.1, 0.95])[1]  # no correlation is over 1
    assert plots._share(0.9, (low, high)) == pytest.approx((0.9 - low) / (high - low))


def test_the_radar_says_whose_figures_are_negative(tmp_path: Path) -> None:
    plots.radar("ABC", {"one": [0.1, 0.2, 0.3]}, {"mine": [-0.3, 0.2, 0.3]}, tmp_path / "minus.png")
    plots.radar("ABC", {"one": [0.1, 0.2, 0.3]}, {"mine": [0.05, 0.2, 0.3]}, tmp_path / "plus.png")
    below = [np.asarray(Image.open(tmp_path / name).convert("L"))[-40:] < 128 for name in ("minus.png", "plus.png")]
    assert below[0].sum() > below[1].sum()


def test_the_confusion_matrix_darkens_with_the_share_of_its_row(tmp_path: Path) -> None:
    names = ["Noise", "Blur", "Null"]
    plots.confusion(np.array([[9, 1, 0], [0, 8, 2], [0, 0, 0]]), names, names, "t", tmp_path / "c.png")
    plots.confusion(np.zeros((3, 3), dtype=np.int64), names, names, "t", tmp_path / "empty.png")
    dark = (10, 70, 150)
    assert ink(tmp_path / "c.png", dark) > ink(tmp_path / "empty.png", dark)


def test_pairs_of_methods_that_were_never_compared_stay_white(tmp_path: Path) -> None:
    every = {("A", "B"): (5.0, 5), ("A", "C"): (5.0, 5), ("B", "C"): (5.0, 5)}
    green = (0, 104, 55)
    plots.method_pairs(["C", "A", "B"], every, "t", tmp_path / "all.png")
    plots.method_pairs(["C", "A", "B"], {("A", "B"): (5.0, 5)}, "t", tmp_path / "one.png")
    assert ink(tmp_path / "all.png", green) > 2 * ink(tmp_path / "one.png", green) - 3000 > 0


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.scatter([plots.Cloud("x", [1.0, 2.0], [1.0, 2.0])], "t", path),
        lambda path: plots.radar("ABC", {"one": [0.1, 0.2, 0.3]}, {}, path),
    ],
)
def test_the_same_figures_give_the_same_bytes(tmp_path: Path, draw: Callable[[Path], None]) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
