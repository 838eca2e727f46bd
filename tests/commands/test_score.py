"""qinsight score from its paths to its files."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

FEW = ("--max-new-tokens", "6")


def expected(i: int) -> str:
    return f"{round(1 + 4 * 40 * i / 255, 2):.4f}"


def test_csv_has_a_row_for_each_picture(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos", "--csv", "out.csv")
    assert done.code == 0
    assert done.out == ""
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0] == "path,rating,rating_std,samples,verdict,reasoning,error"
    # The two tenths around the rating hold all probability: their spread is that of a coin with this share.
    spreads = [0.1 * (share * (1 - share)) ** 0.5 for share in (float(expected(i)) * 10 % 1 for i in range(7))]
    rows = [[p, expected(i), f"{spread:.3f}", "1"] for i, (p, spread) in enumerate(zip(photos, spreads, strict=True))]
    assert [line.split(",")[:4] for line in lines[1:]] == rows
    assert sorted(os.listdir()) == ["out.csv", "photos"]
    assert "7 rows, 0 with an error, written to out.csv" in done.err


def test_stdout_is_data_and_stderr_is_talk(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos/*.png", "--csv", "-", "--limit", 2)
    assert [row["rating"] for row in done.rows()] == [expected(0), expected(1)]
    assert done.err.splitlines()[0].startswith("model: tiny")
    assert "--model q-insight" in done.err
    lines = run("score", photos[1], "--jsonl", "-").out.splitlines()
    row = json.loads(lines[0])
    assert len(lines) == 1
    assert row["rating"] == float(expected(1))
    assert (row["path"], row["error"], row["completion_tokens"]) == (photos[1], None, 5)


def test_without_files_a_table(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos", "missing.jpg")
    assert done.code == 3
    assert expected(6)[:-2] in done.out
    assert "█" in done.out
    assert "no such file" in done.out
    assert "It is seen" not in done.out
    assert "It is seen" in run("score", "photos", "--show-reasoning").out


def test_rating_answer_gives_the_number_as_written(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos", "--rating", "answer", "--csv", "-")
    assert [(row["rating"], row["rating_std"]) for row in done.rows()] == [(expected(i)[:-2], "") for i in range(7)]
    assert "written" not in json.loads(run("score", photos[0], "--rating", "answer", "--jsonl", "-").out)
    assert json.loads(run("score", photos[3], "--jsonl", "-").out)["written"] == [float(expected(3))]


def test_direct_reads_the_rating_without_reasoning(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos", "missing.jpg", "--mode", "direct", "--csv", "-")
    assert done.code == 3
    assert [row["rating"] for row in done.rows()] == [*(expected(i) for i in range(7)), ""]
    assert {row["reasoning"] for row in done.rows()} == {""}
    row = json.loads(run("score", photos[3], "--mode", "direct", "--jsonl", "-").out)
    assert (row["completion_tokens"], row["samples"]) == (0, 1)
    assert "written" not in row


@pytest.mark.parametrize("option", [("--samples", 2), ("--temperature", 1), ("--max-new-tokens", 5),
                                    ("--preset", "authors"), ("--rating", "answer")])  # fmt: skip
def test_direct_refuses_what_it_has_no_use_for(photos: list[str], run: Any, option: tuple[str, Any]) -> None:
    done = run("score", photos[0], "--mode", "direct", *option)
    assert done.code == 2
    assert option[0] in done.err


def test_samples_give_mean_and_deviation(photos: list[str], run: Any, pixel_model: Any) -> None:
    first = run("score", "photos", "--samples", 5, "--csv", "-")
    assert "drawing 5 samples at temperature 1" in first.err
    row = first.rows()[3]
    assert row["samples"] == "5"
    assert 0 < float(row["rating_std"]) < 0.3
    assert abs(float(row["rating"]) - float(expected(3))) < 0.2
    assert run("score", "photos", "--samples", 5, "--csv", "-", "--batch-size", 2).out == first.out
    assert run("score", "photos", "--samples", 5, "--csv", "-", "--seed", 7).out != first.out


def test_the_preset_of_the_authors(photos: list[str], run: Any, pixel_model: Any) -> None:
    run("score", photos[0], "--csv", "out.csv")
    done = run("score", photos[1], "--preset", "authors", "--samples", 2, "--csv", "-")
    assert "2 samples at temperature 1" in done.err
    assert done.code == 0


def test_a_list_on_stdin(photos: list[str], run: Any, pixel_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(photos[2:4]).encode())))
    assert [row["path"] for row in run("score", "-", "--csv", "-").rows()] == photos[2:4]
    assert run("score", "-", "--csv", "-").code == 1  # nothing is left on stdin


def test_another_prompt(photos: list[str], run: Any, pixel_model: Any) -> None:
    Path("prompt.txt").write_text("Which of Image A and Image B is better?\n")
    done = run("score", photos[0], "--prompt", "prompt.txt", "--csv", "-")
    assert done.code == 3  # PixelEngine answers that question with a winner, which is no rating
    Path("prompt.txt").write_text("")
    assert "is empty" in run("score", photos[0], "--prompt", "prompt.txt").err


def test_odd_names_and_the_same_file_twice(photos: list[str], run: Any, pixel_model: Any) -> None:
    names = ["with space.png", "two\nlines.png", "ü写真.png", "=cmd.png", "[1].png", "-dash.png"]
    for name in names:
        Path(name).write_bytes(Path(photos[2]).read_bytes())
    done = run("score", "--csv", "out.csv", "--", *names, names[0])
    assert done.code == 0
    table = pd.read_csv("out.csv")
    shown = ["with space.png", "two\nlines.png", "ü写真.png", "'=cmd.png", "[1].png", "'-dash.png", "with space.png"]
    assert list(table["path"]) == shown
    assert set(table["rating"]) == {float(expected(2))}
    assert sum(engine.batches[0] for engine in pixel_model) == 1
    assert "\\n" in run("score", "two\nlines.png").out


def test_notes_are_said_and_kept(photos: list[str], run: Any, pixel_model: Any) -> None:
    frames = [Image.new("L", (30, 30), grey) for grey in (10, 200)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    done = run("score", "moving.gif", "--jsonl", "-")
    assert "moving.gif: first of 2 frames" in done.err
    assert json.loads(done.out)["notes"] == ["first of 2 frames"]


# Broken input, through a real network whose weights are random


def bad_files(folder: Path) -> dict[str, str]:
    """Name -> what its row must say."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:2000])
    (folder / "text.jpg").write_text("not a picture at all")
    (folder / "empty.jpg").touch()
    Image.new("1", (9_500, 9_500)).save(folder / "huge.png")
    return {
        "truncated.jpg": "truncated",
        "text.jpg": "not an image of a known kind",
        "empty.jpg": "the file is empty",
        "huge.png": "is more than 89,478,485 pixels",
        "missing.jpg": "no such file",
    }


def good_files(folder: Path) -> list[str]:
    grey = np.linspace(0, 65535, 4096).reshape(64, 64)
    pictures = {
        "one.png": Image.new("RGB", (1, 1), "red"),
        "deep.png": Image.fromarray(grey.astype(np.uint16)),
        "print.jpg": Image.fromarray((grey / 257).astype(np.uint8)).convert("CMYK"),
        "palette.png": Image.fromarray((grey / 257).astype(np.uint8)).convert("P"),
        "alpha.png": Image.fromarray((grey / 257).astype(np.uint8)).convert("LA"),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    return list(pictures)


def test_every_row_says_why_it_could_not_be_read(tmp_path: Path, random_model: Path, run: Any) -> None:
    bad, good = bad_files(tmp_path), good_files(tmp_path)
    paths = [tmp_path / name for name in (*bad, *good)]
    done = run("score", *paths, "--model", random_model, *FEW, "--csv", "-")
    assert done.code == 3
    rows = done.rows()
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    for row, words in zip(rows, bad.values(), strict=False):
        assert words in row["error"]
    # Random weights write nonsense: the row has no rating, and says so.
    for row in rows[len(bad) :]:
        assert row["rating"] == ""
        assert row["error"].split(":")[0] in {"no_answer", "truncated", "several_answers", "bad_json"}
    assert f"{len(rows)} rows, {len(rows)} with an error" in done.err


def test_an_exif_turned_photo_scores_as_its_upright_twin(tmp_path: Path, random_model: Path, run: Any) -> None:
    upright = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 120, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    paths = [tmp_path / "turned.png", tmp_path / "upright.png"]
    done = run("score", *paths, "--model", random_model, *FEW, "--jsonl", "-")
    turned, twin = (json.loads(line) for line in done.out.splitlines())
    assert turned.pop("path") != twin.pop("path")
    assert turned == twin


def test_a_model_folder_without_weights_is_one_line(photos: list[str], random_model: Path, run: Any) -> None:
    os.mkdir("model")
    Path("model/config.json").write_bytes((random_model / "config.json").read_bytes())
    done = run("score", photos[0], "--model", "model", "--csv", "out.csv")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("qinsight: error: model")
    assert "no weights" in done.err
    assert not Path("out.csv").exists()


# Interrupted


def test_killed_at_any_moment_the_second_run_gives_the_same_file(
    photos: list[str], mortal: Any, run: Any, pixel_model: Any
) -> None:
    options = ("score", "photos", "missing.jpg", photos[2], "--batch-size", "2", "--samples", "3")
    assert run(*options, "--csv", "whole.csv", "--jsonl", "whole.jsonl").code == 3
    # The header and its folder, four batches, then the two outputs and their folders are fsynced in turn.
    for after in (1, 3, 5, 7, 8):
        files = ("--csv", f"{after}.csv", "--jsonl", f"{after}.jsonl")
        assert mortal("kill", after, *options, *files).returncode == -9
        assert Path(f"{after}.csv.journal.jsonl").exists()
        again = run(*options, *files)
        assert again.code == 3
        assert ("resuming: " in again.err) == (after >= 3)
        for kind in ("csv", "jsonl"):
            assert Path(f"{after}.{kind}").read_bytes() == Path(f"whole.{kind}").read_bytes()
    left = {name for name in os.listdir() if "journal" in name or name.endswith(".part")}
    assert left == set()


def test_ctrl_c_finishes_the_batch_and_keeps_it(photos: list[str], mortal: Any, run: Any, pixel_model: Any) -> None:
    options = ("score", "photos", "--batch-size", "2", "--csv", "out.csv")
    stopped = mortal("interrupt", 1, *options)
    assert stopped.returncode == 130
    assert "finishing this batch" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert os.listdir() != ["out.csv"]
    assert len(Path("out.csv.journal.jsonl").read_text().splitlines()) == 5
    again = run(*options)
    assert again.code == 0
    assert "resuming: 4 answers" in again.err
    assert len(Path("out.csv").read_text().splitlines()) == 8


def test_other_settings_are_refused_until_restart(photos: list[str], mortal: Any, run: Any, pixel_model: Any) -> None:
    options = ("score", "photos", "--batch-size", "2", "--csv", "out.csv")
    assert mortal("kill", 5, *options).returncode == -9
    refused = run(*options, "--rating", "answer")
    assert "decoding.rating expected -> answer" in refused.err.splitlines()[-1]
    refused = run(*options, "--mode", "direct")
    assert "decoding.mode reasoned -> direct" in refused.err.splitlines()[-1]
    refused = run(*options, "--samples", "2", "--seed", "3")
    assert refused.code == 1
    last = refused.err.splitlines()[-1]
    assert "seed 0 -> 3" in last
    assert "decoding.samples 1 -> 2" in last
    assert "--restart" in last
    # A larger batch may finish what a smaller one began.
    larger = run(*options[:2], "--batch-size", "5", "--csv", "out.csv")
    assert larger.code == 0
    assert "resuming: " in larger.err
    assert run(*options, "--samples", "2", "--restart").code == 0


@pytest.mark.parametrize("output", [["--csv", "-"], ["--jsonl", "-"], []])
def test_a_reader_that_leaves_ends_it_quietly(photos: list[str], mortal: Any, output: list[str]) -> None:
    process = mortal.start("none", 0, "score", *["missing.jpg"] * 5000, *output)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait() in (1, 3)
    assert not re.search("Traceback|BrokenPipe|Exception", process.stderr.read())


def test_the_embedded_model_rates_a_photo(photos: list[str], run: Callable[..., Any]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)).save("noise.png")
    done = run("score", "noise.png", "--csv", "-")
    assert done.code == 0, done.out
    (row,) = done.rows()
    assert row["error"] == ""
    assert row["rating"]
    assert len(row["reasoning"]) > 20
