"""--sort, --top, --below, --above, --paths and -0, on a stand-in that rates brightness."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pixel_engine import rating_of


def expected(photos: list[str]) -> list[str]:
    return sorted(photos, key=lambda path: rating_of(Image.open(path)))


def test_worst_and_best_first_in_the_table_and_in_files(photos: list[str], run: Any, pixel_model: Any) -> None:
    order = expected(photos)
    mixed = [photos[i] for i in (3, 0, 6, 1, 5, 2, 4)]
    for sort, wanted in (("rating", order), ("best", order[::-1])):
        done = run("score", *mixed, "--sort", sort, "--csv", "out.csv", "--jsonl", "-")
        assert done.code == 0
        with open("out.csv", newline="") as file:
            assert [row["path"] for row in csv.DictReader(file)] == wanted
    out = run("score", *mixed, "--top", 2).out
    assert [path for path in order if path in out] == order[:2]
    assert out.index(order[0]) < out.index(order[1])


def test_limits_and_an_error_stays(photos: list[str], run: Any, pixel_model: Any) -> None:
    ratings = {path: rating_of(Image.open(path)) for path in photos}
    done = run("score", *photos, "missing.png", "--below", 3.0, "--above", 1.5, "--csv", "-")
    assert done.code == 3
    wanted = [path for path in photos if 1.5 < ratings[path] < 3.0]
    assert wanted
    assert [row["path"] for row in done.rows()] == [*wanted, "missing.png"]
    assert f"{len(wanted)} of 7 shown" in done.err


def test_paths_alone_end_in_newline_or_nul(photos: list[str], run: Any, pixel_model: Any) -> None:
    worst = expected(photos)[:3]
    assert run("score", "photos", "missing.png", "--top", 3, "--paths").out == "".join(f"{p}\n" for p in worst)
    assert run("score", "photos", "--top", 3, "--paths", "-0").out == "".join(f"{p}\0" for p in worst)
    dark = run("degrade", "photos", "--sort", "severity", "--top", 1, "--paths").out
    assert rating_of(Image.open(dark.strip())) < 2


def test_a_name_that_is_no_text_reaches_the_next_command(photos: list[str], run: Any, pixel_model: Any) -> None:
    name = os.fsencode("photos/") + b"\xff\n.png"
    Image.new("RGB", (8, 8)).save("plain.png")
    os.rename(b"plain.png", name)
    assert run("score", os.fsdecode(name), "--paths", "-0", "--csv", "out.csv").code == 0
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from qinsight_cli.commands.console import write_path; "
         "write_path(sys.argv[1], True)", name], capture_output=True, check=True)  # fmt: skip
    assert done.stdout == name + b"\0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--below", 2, "--above", 3), "no rating is above 3 and below 2"),
        (("--below", 9), "less than or equal to 5"),
        (("--top", 0), "greater than or equal to 1"),
        (("--sort", "name"), "name"),
        (("-0",), "give --paths too"),
        (("--paths", "--csv", "-"), "give the rows a file"),
    ],
)
def test_mistakes_are_one_line(
    photos: list[str], run: Any, pixel_model: Any, options: tuple[object, ...], words: str
) -> None:
    done = run("score", *photos, *options)
    assert done.code == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert not pixel_model


def test_after_many_pictures_a_summary_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, pixel_model: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(24):
        Image.new("RGB", (16, 16), (10 * i,) * 3).save(f"{i:02}.png")
    done = run("score", ".", "--csv", "out.csv")
    lines = done.err.splitlines()
    assert any(line.startswith("24 answers, mean rating") for line in lines)
    worst = lines[lines.index("the worst") + 1 :]
    assert [next(word for word in line.split() if word.endswith(".png")) for line in worst] == [
        f"./{i:02}.png" for i in range(5)
    ]
    assert "answers, mean" not in run("score", ".", "--csv", "few.csv", "--limit", 19).err


def test_no_colour_in_a_pipe(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos")
    assert "\x1b" not in done.out + done.err
