"""docs/screenshots.py: what it draws of a terminal's output, and the pictures that it left."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PIL import Image

import screenshots

ROOT = Path(__file__).parents[1]
PRINTED = "\x1b[1mpath\x1b[0m     rating\na&b.jpg  \x1b[31m1.25 █░░░░░░░\x1b[0m\n"


def words(svg: str) -> str:
    """The text of an SVG, in its order."""
    root = ElementTree.fromstring(svg)
    return " ".join(" ".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text"))


def loads_nothing(svg: str) -> bool:
    return not re.search(r"@font-face|@import|url\(\s*['\"]?http|href=['\"]http", svg)


def test_a_drawing_has_the_command_and_what_it_printed_in_colour() -> None:
    drawn = screenshots.svg(PRINTED, "qinsight score photos")
    text = words(drawn).replace("\xa0", " ")
    for part in ("qinsight score photos", "path", "a&b.jpg", "1.25 █░░░░░░░"):
        assert part in text
    red = re.search(r"\.(qinsight-r\d+) \{ fill: #[c-f][0-9a-f][0-5]", drawn)
    assert red
    assert re.search(rf'class="{red[1]}"[^>]*>1\.25', drawn)
    assert loads_nothing(drawn)


def test_the_pictures_of_the_readme_are_there_small_and_load_nothing() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("score.svg", "gallery.png"):
        assert f"](docs/images/{name})" in readme
    drawn = (screenshots.IMAGES / "score.svg").read_text(encoding="utf-8")
    assert loads_nothing(drawn)
    text = words(drawn).replace("\xa0", " ")
    fitting = [name for name in screenshots.SHOWN if len(f"photos/{name}") <= screenshots.COLUMNS * 2 // 5]
    assert len(fitting) > 4  # the others take two lines
    assert all(name in text for name in ("qinsight score photos", "rating", "verdict", *fitting))
    with Image.open(screenshots.IMAGES / "gallery.png") as picture:
        assert picture.size == (screenshots.WIDTH, screenshots.HEIGHT)
    assert (screenshots.IMAGES / "gallery.png").stat().st_size < 400_000
