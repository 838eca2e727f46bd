"""`qinsight prepare synth` as a person runs it, and its contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from prepare_runs import one_line, picture, rows_of, run, write_csv


def test_the_null_share_of_the_papers_test_set_by_name(here: Path) -> None:
    for number in range(8):
        picture(here / f"photos/{number}.png", number)
    shares = ("--null-share", "paper"), ("--null-share", 0.121)
    for number, share in enumerate(shares):
        assert run("synth", "photos", "--workers", 1, "--test-share", 0, *share, "--out", f"data/{number}") == 0
    lines = [(here / f"data/{number}/train.jsonl").read_text().splitlines() for number in range(2)]
    named, given = ([json.loads(line) for line in each] for each in lines)
    assert [row["id"] for row in named] == [row["id"] for row in given]
    nulls = sum(row["distortion"] == "null" for row in named)
    assert nulls / len(named) == pytest.approx(121 / 1000, abs=0.02)
    card = json.loads((here / "data/0/dataset.json").read_text())
    assert card["null_share"] == 0.121


def test_synth(here: Path, capsys) -> None:
    for i in range(3):
        picture(here / f"photos/{i}.png", i, (72, 64))
    assert run("synth", "photos", "--workers", 1) == 0
    capsys.readouterr()
    rows = rows_of(here / "data/synth")
    assert len(rows) == 63
    assert sum(row["distortion"] == "null" for row in rows) == 3
    assert run("check", "data/synth", "--workers", 1) == 0
    (here / "photos/1.png").write_bytes(b"")
    capsys.readouterr()
    assert run("synth", "photos", "--workers", 1) == 1
    assert "1 broken image in 3 photos" in one_line(capsys)
    assert run("synth", "photos", "--workers", 1, "--skip-bad", "--null-share", 0, "--force") == 0
    assert len(rows_of(here / "data/synth")) == 40


def test_synth_from_a_rated_dataset_keeps_its_split(here: Path) -> None:
    write_csv(here / "t/scores.csv", ("file", "mos"), *[(f"{i}.png", i) for i in range(9)])
    for i in range(9):
        picture(here / f"t/{i}.png", i, (72, 64))
    run("csv", "t/scores.csv", "--image-column", "file", "--label-column", "mos", "--test-share", 0.5, "--workers", 1)
    side = {
        Path(row["images"]["image"]).name: row["split"] for row in rows_of(here / "data/scores") if row["rating"] >= 3
    }
    assert run("synth", "--from", "data/scores", "--min-rating", 3, "--per-photo", 2, "--workers", 1) == 0
    nulls = [row for row in rows_of(here / "data/synth") if row["distortion"] == "null"]
    assert {Path(row["images"]["image"]).name: row["split"] for row in nulls} == side
    assert run("synth", "--from", "data/scores", "--min-rating", 5.5, "--out", "x") == 1


def test_varied_synth(here: Path, capsys) -> None:
    photo = skimage.data.chelsea()
    (here / "photos").mkdir()
    Image.fromarray(photo).save(here / "photos/cat.png")
    options = ("--per-photo", 5, "--pairs", 2, "--tasks", "degradation,score,comparison", "--reasoning")
    assert run("synth", "photos", "--varied", *options, "--workers", 1) == 0
    rows = rows_of(here / "data/synth")
    assert [sum(row["task"] == task for row in rows) for task in ("degradation", "score", "comparison")] == [6, 6, 2]
    assert json.loads((here / "data/synth/dataset.json").read_text())["varied"] is True
    sizes = {Image.open(here / "data/synth" / row["images"]["image"]).size for row in rows if "image" in row["images"]}
    assert (photo.shape[1], photo.shape[0]) not in sizes
    capsys.readouterr()
    assert run("check", "data/synth", "--workers", 1) == 0


def test_the_contact_sheet(here: Path, capsys) -> None:
    picture(here / "photo.png", 1, (90, 80))
    assert run("synth", "photo.png", "--contact-sheet", "sheet.png") == 0
    assert "wrote sheet.png: photo.png with 18 distortions at 5 severities" in capsys.readouterr().out
    assert Image.open(here / "sheet.png").width > 1000
    assert not (here / "data").exists()
    assert run("synth", "--contact-sheet", "own.png") == 0  # with a photo of scikit-image's
    (here / "photo.png").write_bytes(b"")
    capsys.readouterr()
    assert run("synth", "photo.png", "--contact-sheet", "sheet.png") == 1
    assert "photo.png: the file is empty" in one_line(capsys)
