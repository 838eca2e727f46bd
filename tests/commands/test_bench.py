"""qinsight bench from beginning to end, on small datasets of every kind."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bench_data

RAISED = str.maketrans("", "", "¹²³⁴⁵⁶⁷⁸⁹")  # footnotes
TABLES = ("table1", "table2", "table3", "table4", "table5", "tableB")


@pytest.mark.usefixtures("all_tasks", "pixel_model")
def test_everything_on_every_table(run: Callable[..., Any]) -> None:
    done = run("bench", "all", "--model", "pixels=tiny", "--out", "out", "--bootstrap", 50)
    assert done.code == 0, done.err
    for table in TABLES:
        for ending in (".csv", "-long.csv", ".md", ".tex"):
            assert Path(f"out/{table}{ending}").is_file()
        assert f"Table {table.removeprefix('table')}: " in done.out
    plots = sorted(path.name for path in Path("out").glob("*.png"))
    assert plots == [
        "table1-radar.png",
        "table1-scatter-pixels.png",
        "table2-confusion-pixels-kadis.png",
        "table3-scatter-pixels.png",
        "table4-confusion-pixels-kadis.png",
        "table5-methods-pixels.png",
        "tableB-scatter-pixels.png",
    ]
    for name in plots:
        with Image.open(f"out/{name}") as image:
            assert min(image.size) > 200
    scores = bench_data.long_rows(Path("out/table1-long.csv"))
    # Brightness rises with the rating in every dataset, though not in a straight line.
    assert float(scores["pixels", "KonIQ", "SRCC"]["value"]) == 1.0
    assert 0.9 < float(scores["pixels", "KonIQ", "PLCC"]["value"]) < 1.0
    assert float(scores["pixels", "biq2021", "SRCC"]["value"]) == 1.0
    assert ("pixels", "AVG.", "PLCC") not in scores
    levels = bench_data.long_rows(Path("out/table2-long.csv"))
    # The stand-in says darken, serious of dark pictures and null of others.
    assert [levels["pixels", column, "Deg. Acc."]["value"] for column in ("Noise", "Darken", "Null", "Average")] == [
        *("0.000000", "1.000000", "1.000000", "0.400000")
    ]
    assert levels["pixels", "Darken", "Lev. Acc."]["value"] == "0.333333"
    pairs = bench_data.long_rows(Path("out/table5-long.csv"))
    assert [pairs["pixels", column, ""]["value"] for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc", "SRCC")] == [
        *("100.000000", "100.000000", "100.000000", "1.000000")
    ]
    assert [pairs["pixels", column, ""]["count"] for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == [
        "6",
        "72",
        "110",
    ]


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_the_record_leads_back_to_model_settings_and_data(run: Callable[..., Any]) -> None:
    run("bench", "table1", "--out", "out", "--bootstrap", 20, "--limit", 5, "--seed", 3)
    record = json.loads(Path("out/bench.json").read_text())["tables"]["table1"]
    assert record["systems"]["tiny"]["model"] == "pixels-tiny-0"  # the limit of the model itself, as in the paper
    assert record["settings"]["limit"] == 5
    assert record["settings"]["decoding"]["temperature"] == 0.0
    assert record["settings"]["command"].startswith("qinsight")
    digests = {one["name"]: (one["sha256"], one["rows"], one["of"]) for one in record["datasets"]}
    card = json.loads(Path("data/koniq/dataset.json").read_text())
    assert digests["koniq"] == (card["sha256"]["test"], 5, 12)
    assert record["versions"]["numpy"]
    (cell,) = [c for c in record["figures"] if c["column"] == "KonIQ" and c["metric"] == "SRCC"]
    assert cell["value"] == 1.0
    assert cell["count"] == 5


@pytest.mark.usefixtures("pixel_model", "undrawn")
def test_the_shortest_form_works(all_tasks: Path, run: Callable[..., Any]) -> None:
    done = run("bench", "srbench")
    assert done.code == 0
    (folder,) = (all_tasks / "runs").iterdir()
    assert folder.name.endswith("-bench-table5")
    assert folder.name[:8].isdigit()
    assert "▸ tiny" in done.out
    assert f"written to runs/{folder.name}" in done.err


def test_without_any_data_the_published_figures_are_printed(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("bench", "score", "tableB", "--out", "out")
    assert done.code == 0
    assert "0.933" in done.out
    assert "ε = 0.15" in done.out
    assert "nothing was measured here" in done.out
    assert "the mean of the row's 7 cells is 0.743" in done.out
    assert "koniq is not prepared: qinsight prepare koniq SOURCE" in done.err
    record = json.loads(Path("out/bench.json").read_text())["tables"]
    assert {name: table["figures"] for name, table in record.items()} == {"table1": [], "tableB": []}


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_a_sample_is_said_in_the_title(run: Callable[..., Any]) -> None:
    done = run("bench", "table1", "table5", "--limit", 6, "--out", "out", "--bootstrap", 0)
    assert (
        "Table 1: PLCC / SRCC on score regression (a stratified sample: 6 of 12 of koniq, 6 of 7 of biq2021)"
        in done.out
    )
    assert "a stratified sample: 55 of 110 of srbench" in " ".join(done.out.split())


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_systems_of_every_kind_stand_side_by_side(run: Callable[..., Any]) -> None:
    first = run("bench", "table5", "--model", "Q-Insight (Zero-Shot)=tiny", "--out", "one", "--bootstrap", 0)
    assert first.code == 0
    answers = "one/predictions/Q-Insight__Zero-Shot_-srbench-comparison.csv"
    done = run(
        *("bench", "table5", "--model", "tiny", "--metric", "psnr", "--metric", "ssim"),
        *("--predictions", f"DepictQA={answers}", "--out", "two", "--bootstrap", 0),
    )
    assert done.code == 0, done.err
    rows = bench_data.long_rows(Path("two/table5-long.csv"))
    assert {method for method, _, _ in rows} == {"tiny", "PSNR", "SSIM", "DepictQA"}
    assert rows["DepictQA", "Overall-Acc", ""]["value"] == rows["tiny", "Overall-Acc", ""]["value"] == "100.000000"
    # A measured row stands below the published one of its name, others at the end.
    order = [
        line.translate(RAISED).split()[0:2]
        for line in done.out.splitlines()
        if line.startswith((" ▸", " DepictQA", " A-FINE"))
    ]
    assert order == [
        ["▸", "PSNR"],
        ["▸", "SSIM"],
        ["A-FINE", "CVPR"],
        ["DepictQA", "ECCV"],
        ["▸", "DepictQA"],
        ["▸", "tiny"],
    ]


@pytest.mark.usefixtures("all_tasks", "undrawn")
def test_answers_of_one_bench_are_predictions_for_the_next(run: Callable[..., Any], pixel_model: list[Any]) -> None:
    run("bench", "table1", "table2", "--out", "one", "--bootstrap", 0)
    done = run(
        *("bench", "table2", "--predictions", "again=one/predictions/tiny-kadis-degradation.csv", "--out", "two"),
        *("--bootstrap", 0),
    )
    assert done.code == 0
    assert len(pixel_model) == 1
    first, second = (bench_data.long_rows(Path(f"{name}/table2-long.csv")) for name in ("one", "two"))
    assert [row["value"] for row in first.values()] == [row["value"] for row in second.values()]


@pytest.mark.usefixtures("all_tasks", "undrawn")
def test_one_question_per_distortion(run: Callable[..., Any], pixel_model: list[Any]) -> None:
    done = run("bench", "table2", "--protocol", "sequential", "--out", "out", "--bootstrap", 0)
    assert done.code == 3  # the stand-in does not understand the question
    assert sum(pixel_model[0].batches) == 4 * 15
    assert "15 of 15 pictures have no readable answer and count as wrong" in done.out
    assert len(list(Path("out/journals").iterdir())) == 4


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_unreadable_pictures_are_counted_and_the_exit_code_says_so(run: Callable[..., Any]) -> None:
    Path("data/koniq/images/03.png").write_bytes(b"no picture")
    done = run("bench", "table1", "--data", "data/koniq", "--out", "out", "--bootstrap", 0)
    assert done.code == 3
    assert "1 of 12 pictures have no rating and are not in the figure" in done.out
    assert "1 row without an answer" in done.err
    assert bench_data.long_rows(Path("out/table1-long.csv"))["tiny", "KonIQ", "SRCC"]["failed"] == "1"


@pytest.mark.usefixtures("pixel_model", "undrawn")
def test_killed_and_resumed_it_comes_to_the_same(all_tasks: Path, run: Callable[..., Any], mortal: Any) -> None:
    arguments = ("bench", "table1", "--batch-size", 2, "--bootstrap", 20)
    assert run(*arguments, "--out", "whole", "--model", "m=tiny").code == 0
    done = mortal("kill", 4, *arguments, "--out", "broken", "--model", "m=tiny")
    assert done.returncode == -signal.SIGKILL
    assert not (all_tasks / "broken/bench.json").exists()
    again = run(*arguments, "--out", "broken", "--model", "m=tiny")
    assert again.code == 0, again.err
    assert "resuming: " in again.err
    for name in ("table1.csv", "table1-long.csv", "table1.md", "table1.tex"):
        assert (all_tasks / "broken" / name).read_bytes() == (all_tasks / "whole" / name).read_bytes()


@pytest.mark.usefixtures("all_tasks")
def test_interrupted_it_says_how_to_go_on(mortal: Any) -> None:
    done = mortal("interrupt", 1, "bench", "table1", "--batch-size", 2, "--out", "a b")
    assert done.returncode == 130
    assert "interrupted: to resume, run the same command with --out 'a b'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("all_tasks", "undrawn")
def test_a_bench_on_other_settings_in_the_same_folder_is_refused(
    run: Callable[..., Any], pixel_model: list[Any]
) -> None:
    assert run("bench", "table2", "--out", "out", "--bootstrap", 0).code == 0
    done = run("bench", "table2", "--out", "out", "--bootstrap", 0, "--max-new-tokens", 9)
    assert done.code == 1
    assert "started with other settings (decoding.max_new_tokens 512 -> 9)" in done.err
    assert run("bench", "table2", "--out", "out", "--max-new-tokens", 9, "--restart", "--bootstrap", 0).code == 0


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_a_table_measured_later_in_the_same_folder_joins_the_record(run: Callable[..., Any]) -> None:
    run("bench", "table1", "--out", "out", "--bootstrap", 0)
    run("bench", "table2", "--out", "out", "--bootstrap", 0)
    assert sorted(json.loads(Path("out/bench.json").read_text())["tables"]) == ["table1", "table2"]


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_datasets_under_data_without_the_split_are_passed_over(run: Callable[..., Any]) -> None:
    done = run("bench", "table1", "table2", "--split", "validation", "--out", "out")
    assert done.code == 0
    assert "nothing was measured here" in done.out


def test_the_list_shows_every_row(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("bench", "--list")
    assert done.code == 0
    for row in ("NIQE", "C2Score", "Qwen-SFT", "DeQA", "AgenticIR", "A-FINE", "DepictQA", "ε = 0.15", "tiny"):
        assert row in done.out
    assert "--metric nima-koniq" in done.out
    notes = dict(re.findall(r"^\[(\d+)\] (.+)$", done.out, re.MULTILINE))  # each reason once, below the list
    assert len(set(notes.values())) == len(notes)
    (number,) = re.findall(r"^  Qwen-SFT +no +fine-tune .*FOLDER \[(\d+)\] *$", done.out, re.MULTILINE)
    assert notes[number] == "needs a training run"
    assert re.search(r"^  tiny +yes +--model tiny", done.out, re.MULTILINE)
    assert "not prepared (qinsight prepare NAME SOURCE): koniq" in done.out


@pytest.mark.usefixtures("all_tasks")
def test_a_real_network_of_random_weights_goes_all_the_way(run: Callable[..., Any], random_model: Path) -> None:
    # It writes nonsense, so every answer is a failed row, and level words give a number for every picture.
    done = run(
        *("bench", "table1", "table2", "--model", f"random={random_model}", "--model", f"words=deqa:{random_model}"),
        *("--max-new-tokens", 4, "--out", "out", "--bootstrap", 10, "--device", "cpu"),
    )
    assert done.code == 3, done.err
    rows = bench_data.long_rows(Path("out/table1-long.csv"))
    assert rows["random", "KonIQ", "PLCC"]["failed"] == "12"
    assert rows["words", "KonIQ", "PLCC"]["failed"] == "0"
    with open("out/predictions/words-koniq-score.csv", newline="", encoding="utf-8") as file:
        ratings = [float(row["rating"]) for row in csv.DictReader(file)]
    assert len(set(ratings)) > 1
    opinions = [1 + 4 * (index / 11) ** 2 for index in range(12)]  # those of bench_data.scores
    assert float(rows["words", "KonIQ", "PLCC"]["value"]) == pytest.approx(
        np.corrcoef(ratings, opinions)[0, 1], abs=1e-6
    )
    assert "words: expectation over the probabilities of the level words" in done.out
    assert "words rates by level words and gives only scores" in done.err
    assert os.path.exists("out/table2-confusion-random-kadis.png")


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_the_gallery_has_every_answer_the_most_wrong_first(run: Callable[..., Any]) -> None:
    done = run("bench", "table1", "table2", "--out", "out", "--bootstrap", 0, "--html", "r.html")
    assert done.code == 0
    assert "gallery: r.html" in done.err
    html = Path("r.html").read_text(encoding="utf-8")
    found = re.findall(r'data-name="([^"]*)" data-badness="([^"]*)" data-group="([^"]*)"', html)
    shown = [float(badness) for _, badness, _ in found]
    assert shown == sorted(shown, reverse=True)
    expected = []
    for file in Path("out/predictions").glob("*.csv"):
        with file.open(newline="") as opened:
            answers = list(csv.DictReader(opened))
        for answer in answers:
            expected.append(wrongness(answer, truth_of(Path(answer["path"]))))
    assert len(expected) > 20
    assert shown == pytest.approx(sorted(expected, reverse=True), abs=0.006)  # ratings are written in two decimals
    assert "Brightness [" in html  # the reasoning of the model
    assert "label none" in html


def truth_of(path: Path) -> dict[str, Any]:
    folder = path.parents[1]
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    return next(row for row in rows if (folder / row["images"]["image"]).resolve() == path.resolve())


def wrongness(answer: dict[str, str], truth: dict[str, Any]) -> float:
    if "rating" in answer:
        return abs(float(answer["rating"]) - truth["rating"])
    said = (answer["distortion"].replace("none", "null"), answer["severity"].replace("none", "null"))
    return 2.5 * ((said[0] != truth["distortion"]) + (said[1] != truth["severity"]))
