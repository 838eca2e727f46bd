"""qinsight compare: two pictures, many pairs, both orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

DARK, BRIGHT = "photos/1.png", "photos/5.png"


def test_two_pictures(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("compare", DARK, BRIGHT, "--csv", "-")
    assert done.code == 0
    assert done.out.splitlines()[0] == "image_a,image_b,reference,winner,verdict,reasoning,error"
    assert done.out.splitlines()[1].startswith(f"{DARK},{BRIGHT},,Image B,")
    (row,) = run("compare", BRIGHT, DARK, "--ref", "photos/3.png", "--csv", "-").rows()
    assert (row["winner"], row["reference"]) == ("Image A", "photos/3.png")
    assert run("compare", DARK, DARK, "--csv", "-").rows()[0]["winner"] == "Similar"
    table = run("compare", DARK, BRIGHT).out
    assert "Image B" in table
    assert "reference" not in table


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_picture_is_named_by_its_role(photos: list[str], run: Any, pixel_model: Any, place: int) -> None:
    paths = [DARK, BRIGHT, "photos/3.png"]
    paths[place] = "missing.jpg"
    done = run("compare", *paths[:2], "--ref", paths[2], "--csv", "-")
    assert done.code == 3
    assert done.rows()[0]["error"] == ("image_a", "image_b", "reference")[place] + ": no such file"


def test_pairs_from_a_csv_in_its_own_folder(photos: list[str], run: Any, pixel_model: Any) -> None:
    Path("photos/pairs.csv").write_text(
        "\ufeffnote,image_a,image_b,reference\nx,1.png,5.png,\ny,5.png,photos/1.png,3.png\nz,missing.png,5.png,\n"
    )
    done = run("compare", "--pairs", "photos/pairs.csv", "--csv", "out.csv")
    assert done.code == 3
    lines = [line.split(",")[:4] for line in Path("out.csv").read_text().splitlines()[1:]]
    assert lines == [
        ["photos/1.png", "photos/5.png", "", "Image B"],
        ["photos/5.png", "photos/1.png", "photos/3.png", "Image A"],
        ["missing.png", "photos/5.png", "", ""],
    ]
    assert len(run("compare", "--pairs", "photos/pairs.csv", "--limit", 1, "--csv", "-").rows()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "has no column image_a"),
        (b"image_a\n1.png\n", "has no column image_b"),
        (b"", "has no column image_a"),
        (b"image_a,image_b\n", "holds no pairs"),
        (b"image_a,image_b,image_b\na,b,c\n", "has two columns named 'image_b'"),
        (b"image_a,image_b\n1.png,2.png\n1.png,\n", "line 3: no image_b"),
        (b"image_a,image_b\n\xff\xfe,2\n", "is not text in UTF-8"),
    ],
)
def test_bad_pairs_are_one_line(tmp_path: Path, run: Any, content: bytes, words: str) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    done = run("compare", "--pairs", tmp_path / "pairs.csv")
    assert done.code == 1
    assert words in done.err
    assert done.err.count("\n") == 1


def test_both_orders_agree_on_brightness(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("compare", DARK, BRIGHT, "--both-orders", "--csv", "-")
    assert done.out.splitlines()[0].endswith(",error,agreement")
    assert done.rows()[0]["agreement"] == "agree"
    assert sum(pixel_model[0].batches) == 2
    assert "changes with the order" not in done.err


def test_both_orders_say_when_they_disagree(
    photos: list[str], run: Any, pixel_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pairs.csv").write_text(f"image_a,image_b\n{DARK},{BRIGHT}\n{BRIGHT},photos/2.png\n{DARK},missing.png\n")
    Path("prompt.txt").write_text("Is Image A or Image B better?")
    engine = type(run("compare", DARK, BRIGHT) and pixel_model[0])

    def first_wins(self: Any, *_: Any) -> str:
        return "<think> The first. </think><answer> Image A </answer>"

    monkeypatch.setattr(engine, "_text", first_wins)
    done = run("compare", "--pairs", "pairs.csv", "--both-orders", "--jsonl", "-")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["winner"], row["agreement"]) for row in rows] == [
        *(("Image A", "disagree"), ("Image A", "disagree"), (None, None))
    ]
    assert "in 2 of 2 pairs the answer changes with the order of the images" in done.err
    assert done.code == 3


def test_interrupted_comparisons_go_on(photos: list[str], mortal: Any, run: Any, pixel_model: Any) -> None:
    lines = [f"photos/{i}.png,photos/{6 - i}.png" for i in range(7)]
    Path("pairs.csv").write_text("\n".join(["image_a,image_b", *lines]) + "\n")
    options = ("compare", "--pairs", "pairs.csv", "--both-orders", "--batch-size", "3")
    assert run(*options, "--csv", "whole.csv").code == 0
    assert mortal("kill", 4, *options, "--csv", "out.csv").returncode == -9
    again = run(*options, "--csv", "out.csv")
    assert again.code == 0
    assert "resuming: " in again.err
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_nonsense_is_a_row_with_an_error(photos: list[str], random_model: Path, run: Any) -> None:
    done = run("compare", DARK, BRIGHT, "--ref", DARK, "--model", random_model, "--max-new-tokens", 5, "--csv", "-")
    assert done.code == 3
    (row,) = done.rows()
    assert row["error"]
    assert row["winner"] == ""


NOISE = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("pictures", [(skimage.data.chelsea(), skimage.data.chelsea() // 4), tuple(NOISE)])
def test_the_embedded_model_answers(pictures: Any, tmp_path: Path, run: Callable[..., Any]) -> None:
    for name, picture in zip(("a.png", "b.png"), pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    done = run("compare", tmp_path / "a.png", tmp_path / "b.png", "--csv", "-")
    assert done.code == 0, done.out
    (row,) = done.rows()
    assert row["error"] == ""
    assert row["winner"]


def test_direct_gives_the_probability_of_the_winner(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("compare", photos[1], photos[4], "--mode", "direct", "--both-orders", "--csv", "-")
    header, line = done.out.splitlines()
    assert header == "image_a,image_b,reference,winner,probability,verdict,reasoning,error,agreement"
    assert line.split(",")[2:] == ["", "Image B", "1.000", "", "", "", "agree"]


@pytest.mark.parametrize(
    ("command", "weights"),
    [
        (["compare", DARK, BRIGHT], "comparison"),
        (["score", DARK], "score_degradation"),
        (["degrade", DARK], "score_degradation"),
    ],
)
def test_q_insight_takes_the_weights_for_the_task_and_says_so(
    photos: list[str], run: Any, pixel_model: Any, command: list[str], weights: str
) -> None:
    done = run(*command, "--model", "q-insight", "--jsonl", "-")
    assert f"model: q-insight:{weights}, the weights of q-insight for this task" in done.err
    assert json.loads(done.out)["model"] == f"pixels-q-insight:{weights}-None"


def test_the_style_of_the_prompt_reaches_the_model(
    photos: list[str], run: Any, pixel_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pixel_engine

    asked: list[str] = []
    real = pixel_engine.PixelEngine.prepare

    def prepare(engine: Any, requests: Any) -> Any:
        asked.append(requests[0].messages[1]["content"][-1]["text"])
        return real(engine, requests)

    monkeypatch.setattr(pixel_engine.PixelEngine, "prepare", prepare)
    command = ["compare", DARK, BRIGHT, "--ref", "photos/3.png", "--csv", "-"]
    for style in ("paper", "authors"):
        assert run(*command, "--prompt-style", style).code == 0
    assert ['"Similar"' in words for words in asked] == [True, False]
    assert "**exactly one**" in asked[1]


def test_pictures_stand_where_the_prompt_wants_them(photos: list[str], run: Any, pixel_model: Any) -> None:
    Path("prompt.txt").write_text("Is Image A <image> or Image B <image> better?")
    assert run("compare", DARK, BRIGHT, "--prompt", "prompt.txt", "--csv", "-").rows()[0]["winner"] == "Image B"
    done = run("compare", DARK, BRIGHT, "--ref", "photos/3.png", "--prompt", "prompt.txt")
    assert done.code == 1
    assert "the prompt says <image> 2 times for 3 images" in done.err
    assert "Traceback" not in done.err
