"""`qinsight prepare` as a person runs it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from prepare_runs import one_line, picture, rows_of, run, write_csv
from qinsight_cli.core.data.readers import NAMES, published


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
        (("csv", "t.csv", "--task", "beauty"), "--task beauty: tasks are"),
        (("synth", ".", "--null-share", 1), "--null-share"),
        (
            ("synth", ".", "--null-share", "half"),
            "--null-share half: give a number of at least 0 and below 1, or paper",
        ),
        (("synth", ".", "--tasks", "beauty"), "--tasks 'beauty'"),
        (("synth", ".", "--per-photo", 0), "--per-photo"),
    ],
)
def test_usage_errors(arguments: tuple, words: str, here: Path, capsys) -> None:
    picture(here / "a.png", 1)
    assert run(*arguments) == 2
    assert words in one_line(capsys)


def test_every_command_has_help_and_its_dataset_is_documented(capsys) -> None:
    text = (Path(__file__).parents[2] / "docs/datasets.md").read_text()
    for name in (*NAMES, "synth", "csv", "json", "pairs", "check"):
        assert run(name, "--help") == 0
        assert f"qinsight prepare {name}" in text
    capsys.readouterr()
