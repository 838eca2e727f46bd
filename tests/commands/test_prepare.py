"""`qinsight prepare` as a person runs it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qinsight_cli import cli
from qinsight_cli.commands import prepare
from qinsight_cli.core.data import readers
from qinsight_cli.core.data.readers import NAMES, published


def picture(path: Path, number: int, size: tuple[int, int] = (18, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(cells).resize(size, Image.Resampling.NEAREST).save(path)


def write_csv(path: Path, *rows: tuple[Any, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kadid(here: Path) -> Path:
    """KADID-10k in small: three references, five levels of one distortion."""
    rows = [
        (f"I{r:02d}_01_{level:02d}.png", f"I{r:02d}.png", 5 - level * 0.7, 0.5)
        for r in range(1, 4)
        for level in range(1, 6)
    ]
    write_csv(here / "kadid10k/dmos.csv", ("dist_img", "ref_img", "dmos", "var"), *rows)
    for number, name in enumerate([row[0] for row in rows] + ["I01.png", "I02.png", "I03.png"]):
        picture(here / "kadid10k/images" / name, number)
    return here / "kadid10k"


def run(*arguments: object) -> int:
    return cli.run(["prepare", *map(str, arguments)])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    assert lines[0].startswith("qinsight: error: ")
    return lines[0]


def test_a_dataset_lands_under_data(kadid: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("kadid", kadid, "--workers", 1) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["wrote", str(here / "data/kadid"), "test/score", "15"]
    assert err == ""
    card = json.loads((here / "data/kadid/dataset.json").read_text())
    assert card["name"] == "kadid"
    assert card["counts"] == {"test/score": 15}
    assert {row["images"]["image"].split("/")[:2] == ["..", ".."] for row in rows_of(here / "data/kadid")} == {True}


def test_the_next_run_gives_the_same_bytes_and_check_agrees(kadid: Path, here: Path, capsys) -> None:
    def digests() -> dict[str, str]:
        folder = here / "data/kadid"
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    assert run("kadid", kadid, "--workers", 1, "--test-share", 0.4, "--reasoning") == 0
    first = digests()
    assert run("kadid", kadid, "--workers", 2, "--test-share", 0.4, "--reasoning") == 0
    assert digests() == first
    capsys.readouterr()
    assert run("check", here / "data/kadid", "--workers", 1) == 0
    out, _ = capsys.readouterr()
    assert "is sound: 15 rows" in out
    assert "█" in out


def test_check_tells_what_is_wrong_and_fails(kadid: Path, here: Path, capsys) -> None:
    run("kadid", kadid, "--workers", 1, "--copy")
    manifest = here / "data/kadid/test.jsonl"
    manifest.write_text(manifest.read_text().replace('"rating": 5.0', '"rating": 50'))
    picture(next((here / "data/kadid/images/images").glob("I02_01_0*")), 999)
    capsys.readouterr()
    assert run("check", here / "data/kadid", "--workers", 1) == 1
    _, err = capsys.readouterr()
    assert 'wrong: test.jsonl, line 1: "rating" is 50' in err
    assert "is not the picture that was prepared" in err
    assert err.splitlines()[-1].startswith("qinsight: error: ")
    assert run("check", here / "nowhere") == 1


def test_problems_are_told_and_listed(kadid: Path, here: Path, capsys) -> None:
    for name in ("I01_01_01.png", "I01_01_02.png", "I01_01_03.png", "I01_01_04.png"):
        (kadid / "images" / name).unlink()
    picture(kadid / "images/extra.png", 50)
    assert run("kadid", kadid, "--workers", 1) == 1
    words = one_line(capsys)
    assert "4 missing images in 15 label rows" in words
    assert "data/kadid/problems.csv" in words
    assert "--skip-bad" in words
    assert run("kadid", kadid, "--workers", 1, "--skip-bad") == 0
    out, err = capsys.readouterr()
    assert "11" in out
    assert "warning: 4 missing images: I01_01_01.png, I01_01_02.png, I01_01_03.png, ... (all in" in err
    assert "warning: 1 image without label: images/extra.png" in err
    with (here / "data/kadid/problems.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5


def test_a_limit(kadid: Path, here: Path) -> None:
    assert run("kadid", kadid, "--limit", 5, "--seed", 3, "--workers", 1) == 0
    first = rows_of(here / "data/kadid")
    assert len(first) == 5
    assert len({round(row["rating"], 1) for row in first}) == 5  # one of each fifth
    assert run("kadid", kadid, "--limit", 5, "--seed", 3, "--workers", 1, "--out", "again") == 0
    assert [row["id"] for row in rows_of(here / "again")] == [row["id"] for row in first]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"kadid"}))
def test_a_source_that_is_another_dataset(name: str, kadid: Path, capsys) -> None:
    assert run(name, kadid) == 1
    words = one_line(capsys)
    assert f"{kadid} is not {published()[name].title}" in words
    assert f"it looks like KADID-10k: qinsight prepare kadid {kadid}" in words


def test_an_out_that_holds_something_else(kadid: Path, here: Path, capsys) -> None:
    assert run("kadid", kadid, "--out", kadid) == 1
    assert "already holds files that are no dataset of qinsight; choose another --out" in one_line(capsys)
    run("kadid", kadid, "--out", "prepared", "--workers", 1)
    capsys.readouterr()
    assert run("synth", kadid / "images/I01.png", "--out", "prepared") == 1
    assert "already holds the dataset 'kadid'" in one_line(capsys)


def test_a_dataset_is_replaced_by_fewer_or_other_rows_only_when_forced(kadid: Path, here: Path, capsys) -> None:
    assert run("kadid", kadid, "--workers", 1) == 0
    before = (here / "data/kadid/test.jsonl").read_bytes()
    capsys.readouterr()
    assert run("kadid", kadid, "--workers", 1, "--limit", 4) == 1
    line = one_line(capsys)
    assert "holds 15 rows that were prepared in another way (limit (none) -> 4)" in line
    assert line.endswith("give another --out, or --force to replace them")
    table = (kadid / "dmos.csv").read_text()
    (kadid / "dmos.csv").write_text(table.replace("3.6", "3.5"))
    assert run("kadid", kadid, "--workers", 1) == 1
    assert "(labels digest)" in one_line(capsys)
    (kadid / "dmos.csv").write_text(table)
    (kadid / "images/I01_01_01.png").unlink()
    assert run("kadid", kadid, "--workers", 1, "--skip-bad") == 1
    assert "holds 15 rows and would keep 14" in one_line(capsys)
    assert (here / "data/kadid/test.jsonl").read_bytes() == before
    assert run("kadid", kadid, "--workers", 1, "--limit", 4, "--force", "--skip-bad") == 0
    assert len(rows_of(here / "data/kadid")) == 4


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("name", "mos"), ("a.png", 1)], "the header is 'name,mos', not KADID-10k's 'dist_img,ref_img,dmos'"),
        ([("dist_img", "ref_img", "dmos"), ("a.png", "r.png", "nan")], "line 2: the label of 'a.png' is 'nan'"),
        ([("dist_img", "ref_img", "dmos"), ("a.png", "r.png", 5.1)], "is 5.1, outside [1, 5]"),
        ([("dist_img", "ref_img", "dmos"), *[("a.png", "r.png", 2)] * 2], "line 3: 'a' is labelled twice"),
    ],
)
def test_bad_labels_are_one_line(rows: list, words: str, here: Path, capsys) -> None:
    write_csv(here / "k/dmos.csv", *rows)
    assert run("kadid", here / "k") == 1
    assert words in one_line(capsys)
    assert not (here / "data").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_is_not_there(name: str, here: Path, capsys) -> None:
    assert run(name, "nowhere") == 1
    assert f"no such file or folder: {here / 'nowhere'}" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("koniq", ".", "--size", "640x480"), "--size"),
        (("spaq", ".", "--short-side", 0), "--short-side"),
        (("kadid", ".", "--limit", 0), "--limit"),
        (("kadid", ".", "--test-share", 2), "--test-share"),
        (("diffiqa", ".", "--orders", "none"), "--orders"),
        (("csv", "t.csv", "--task", "beauty"), "no task 'beauty'"),
        (("synth", ".", "--null-share", 1), "--null-share"),
        (("synth", ".", "--null-share", "half"), "--null-share half: a number from 0 up to, but not, 1, or paper"),
        (("synth", ".", "--tasks", "beauty"), "--tasks 'beauty'"),
        (("synth", ".", "--per-photo", 0), "--per-photo"),
    ],
)
def test_usage_errors(arguments: tuple, words: str, here: Path, capsys) -> None:
    picture(here / "a.png", 1)
    assert run(*arguments) == 2
    assert words in one_line(capsys)


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


def test_pairs_of_a_rated_dataset(kadid: Path, here: Path, capsys) -> None:
    run("kadid", kadid, "--workers", 1, "--test-share", 0.5, "--reasoning", "--seed", 1)
    capsys.readouterr()
    assert run("pairs", "data/kadid", "--each", 2, "--min-gap", 1) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.split()[:2] == ["wrote", str(here / "data/kadid-pairs")]
    rating = {Path(row["images"]["image"]).name: row["rating"] for row in rows_of(here / "data/kadid")}
    pairs = rows_of(here / "data/kadid-pairs")
    assert len(pairs) == 30
    for row in pairs:
        first, second = (rating[Path(row["images"][role]).name] for role in ("image_a", "image_b"))
        assert abs(first - second) >= 1
        assert row["winner"] == ("Image A" if first > second else "Image B")
    assert run("check", "data/kadid-pairs", "--workers", 1) == 0
    capsys.readouterr()
    assert run("pairs", "data/kadid", "--min-gap", 4.5) == 1
    assert "no two pictures of one split are rated 4.5 or more apart" in one_line(capsys)
    assert run("pairs", "data/kadid-pairs") == 1
    assert "holds no score rows to pair" in one_line(capsys)


def test_the_contact_sheet(here: Path, capsys) -> None:
    picture(here / "photo.png", 1, (90, 80))
    assert run("synth", "photo.png", "--contact-sheet", "sheet.png") == 0
    assert "wrote sheet.png: photo.png under 18 generators at 5 severities" in capsys.readouterr().out
    assert Image.open(here / "sheet.png").width > 1000
    assert not (here / "data").exists()
    assert run("synth", "--contact-sheet", "own.png") == 0  # with a photo of scikit-image's
    (here / "photo.png").write_bytes(b"")
    capsys.readouterr()
    assert run("synth", "photo.png", "--contact-sheet", "sheet.png") == 1
    assert "photo.png: the file is empty" in one_line(capsys)


def test_every_command_has_help_and_its_dataset_is_documented(capsys) -> None:
    text = (Path(__file__).parents[2] / "docs/datasets.md").read_text()
    for name in (*NAMES, "synth", "csv", "json", "pairs", "check"):
        assert run(name, "--help") == 0
        assert f"qinsight prepare {name}" in text
    capsys.readouterr()


TOY = """
from qinsight_cli.core.data.label_tables import read_csv
from qinsight_cli.core.data.labels import Label, Labelled, Published, Scale, number
from qinsight_cli.core.data.source_files import label_files
from qinsight_cli.core.tasks import score

DATASET = Published(title="Toy Photos", signs=("toy_labels.csv",), help="Toy: four pictures, MOS 0-10.")


def read(source):
    table = label_files(source, "toy")[0]
    labels = [
        Label(row["file"], {"image": row["file"]}, number(row["mos"], Scale(0, 10), where, row["file"]), where)
        for where, row in read_csv(table, "toy", ("file", "mos"))
    ]
    return Labelled("toy", score.TASK.name, source, labels, Scale(0, 10), test_share=0.0)
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
        (("d.csv", "--task", "sharpness"), "no task 'sharpness'; tasks are score, degradation, comparison"),
    ):
        assert run("csv", *arguments) != 0
        assert words in one_line(capsys)
