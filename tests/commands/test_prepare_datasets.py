"""`qinsight prepare` with the options of single datasets and tables, and with one dataset more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prepare_runs import one_line, picture, rows_of, run, write_csv
from qinsight_cli.commands import prepare
from qinsight_cli.core.data import readers
from qinsight_cli.core.data.readers import NAMES


def test_csv_from_options(here: Path, capsys) -> None:
    write_csv(here / "t/scores.csv", ("file", "dmos"), *[(f"{i}.png", i) for i in range(9)])
    for i in range(9):
        picture(here / f"pictures/{i}.png", i)
    options = ("--image-column", "file", "--label-column", "dmos", "--images", "pictures", "--workers", 1)
    assert run("csv", "t/scores.csv", *options, "--label-range", 0, 10, "--lower-is-better", "--test-share", 0) == 0
    rows = rows_of(here / "data/scores")
    assert [row["rating"] for row in rows] == [pytest.approx(5 - 0.4 * i) for i in range(9)]
    assert run("csv", "t/scores.csv", *options, "--label-range", 0, 7, "--name", "x") == 1
    assert "outside [0, 7]" in capsys.readouterr().err


def test_json_records(here: Path) -> None:
    for split in ("train", "test"):
        (here / f"{split}_x.json").write_text(json.dumps([{"image": f"k/{split}.png", "gt_score_norm": "2.5"}]))
    for number, name in enumerate(("train", "test")):
        picture(here / f"k/{name}.png", number)
    assert run("json", "train_x.json", "test_x.json", "--images", ".", "--name", "koniq", "--workers", 1) == 0
    assert {(row["split"], row["rating"]) for row in rows_of(here / "data/koniq")} == {("train", 2.5), ("test", 2.5)}


def test_diffiqa_says_which_order(here: Path, capsys) -> None:
    record = {"ref_image": "Original/r.png", "ImageA": "01/r_01.png", "ImageB": "02/r_02.png", "result": "Image A"}
    (here / "d").mkdir()
    (here / "d/train_comparison.json").write_text(json.dumps([record]))
    for number, key in enumerate(("ref_image", "ImageA", "ImageB")):
        picture(here / "d/images" / record[key], number)
    assert run("diffiqa", "d", "--orders", "both", "--workers", 1) == 0
    assert "note: each pair is written in both orders" in capsys.readouterr().err
    assert {row["winner"] for row in rows_of(here / "data/diffiqa")} == {"Image A", "Image B"}


def test_kadis_draws_what_the_paper_draws(here: Path) -> None:
    metas = here / "refA_sd_brief/metas"
    metas.mkdir(parents=True)
    for split, first in (("train", 0), ("test", 40)):
        records = [
            {"distortion_class": ("noise", "blur")[i % 2], "severity": 1 + i % 5, "image_A": f"dist_imgs/p{i}_0.png"}
            for i in range(first, first + 40)
        ]
        (metas / f"{split}_refA_sd_brief.json").write_text(json.dumps(records))
        for i in range(first, first + 40):
            picture(here / f"refA_sd_brief/dist_imgs/p{i}_0.png", i)
    assert run("kadis", "refA_sd_brief", "--train", 10, "--test", 0, "--workers", 1) == 0
    rows = rows_of(here / "data/kadis")
    assert [sum(row["split"] == split for row in rows) for split in ("train", "test")] == [10, 40]
    assert sum(row["distortion"] == "noise" and row["split"] == "train" for row in rows) == 5
    for path in metas.iterdir():
        path.rename(metas / f"x{path.name}")  # names that tell no split
    assert run("kadis", "refA_sd_brief", "--train", 10, "--test", 10, "--workers", 1, "--force") == 0
    rows = rows_of(here / "data/kadis")
    assert len(rows) == 20
    assert {row["split"] for row in rows} == {"train", "test"}


def test_spaq_with_a_short_side(here: Path) -> None:
    import pandas as pd

    (here / "s").mkdir()
    frame = pd.DataFrame({"Image name": ["1.jpg", "2.jpg"], "MOS": [10, 90]})
    frame.to_excel(here / "s/MOS and Image attribute scores.xlsx", index=False)
    for i in (1, 2):
        picture(here / f"s/TestImage/{i}.jpg", i, (120, 80))
    assert run("spaq", "s", "--short-side", 40, "--workers", 1) == 0
    assert all(
        row["files"]["image"] | {"sha256": ""} == {"sha256": "", "width": 60, "height": 40}
        for row in rows_of(here / "data/spaq")
    )


TOY = """
from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Labelled, Published, Scale, rated
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.tasks import score

DATASET = Published(title="Toy Photos", signs=("toy_labels.csv",), help="Toy: four pictures, MOS 0-10.")


def read(source):
    table = label_files(source, "toy")[0]
    scale, rows = Scale(0, 10), read_csv(table, "toy", ("file", "mos"))
    labels = [rated(where, row["file"], row["mos"], scale) for where, row in rows]
    return Labelled("toy", score.TASK.name, source, labels, scale, test_share=0.0)
"""


def test_a_new_dataset_is_one_file_and_one_line(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (here / "readers").mkdir()
    (here / "readers/toy.py").write_text(TOY)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(here / "readers")])  # the one file
    monkeypatch.setattr(readers, "NAMES", (*NAMES, "toy"))  # the one line
    monkeypatch.setattr(prepare.app, "registered_commands", list(prepare.app.registered_commands))
    prepare.add_dataset("toy")
    assert run("--help") == 0
    assert "Toy: four pictures, MOS 0-10." in capsys.readouterr().out
    for number in range(4):
        picture(here / f"photos/{number}.png", number)
    write_csv(here / "photos/toy_labels.csv", ("file", "mos"), *((f"{number}.png", number) for number in range(4)))
    assert run("koniq", "photos") == 1
    assert "it looks like Toy Photos: qinsight prepare toy" in one_line(capsys)
    assert run("toy", "photos", "--workers", 1) == 0
    assert [row["rating"] for row in rows_of(here / "data/toy")] == [1.0, 2.3333, 3.6667, 5.0]
    sys.modules.pop("qinsight_cli.core.data.readers.toy")


def test_tables_of_other_tasks_are_prepared(here: Path, capsys) -> None:
    for number in range(3):
        picture(here / f"p/{number}.png", number)
    header = ("path", "distortion", "severity", "reasoning", "error")
    write_csv(here / "d.csv", header, ("p/0.png", "none", "none", "", ""), ("p/1.png", "JPEG", "serious", "", ""))
    assert run("csv", "d.csv", "--task", "degradation", "--test-share", 0, "--workers", 1) == 0
    found = [(row["task"], row["distortion"], row["severity"]) for row in rows_of(here / "data/d")]
    assert found == [("degradation", "null", "null"), ("degradation", "compression", "serious")]
    write_csv(
        here / "c.csv", ("image_a", "image_b", "reference", "winner"), ("p/0.png", "p/1.png", "p/2.png", "Image B")
    )
    assert run("csv", "c.csv", "--task", "comparison", "--test-share", 0, "--workers", 1) == 0
    (row,) = rows_of(here / "data/c")
    assert (sorted(row["images"]), row["winner"]) == (["image_a", "image_b", "reference"], "Image B")
    write_csv(here / "s.csv", ("path", "rating", "rating_std"), ("p/0.png", "1.50", ""), ("p/1.png", "4.00", ""))
    assert run("csv", "s.csv", "--label-range", 1, 5, "--test-share", 0, "--workers", 1) == 0
    assert [row["rating"] for row in rows_of(here / "data/s")] == [1.5, 4.0]
    capsys.readouterr()
    write_csv(here / "e.csv", header, ("p/0.png", "", "", "", "truncated"))
    assert run("csv", "e.csv", "--task", "degradation") == 1
    assert "e.csv, line 2: 'p/0.png': the distortion is '', not one of" in one_line(capsys)
    for arguments, words in (
        (("d.csv", "--task", "degradation", "--lower-is-better"), "degradation has no scale"),
        (("c.csv", "--task", "comparison", "--image-column", "a"), "comparison has the columns image_a,image_b"),
        (("d.csv", "--task", "sharpness"), "--task sharpness: tasks are score, degradation, comparison"),
    ):
        assert run("csv", *arguments) != 0
        assert words in one_line(capsys)
