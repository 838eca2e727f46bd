"""What can be wrong with a bench: one line each, or a cell that says why it is empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench_data


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name a table"),
        (["tabel1"], 2, "did you mean table1"),
        (["table1", "--predictions", "deqa.csv"], 2, "give LABEL=FILE.csv"),
        (["table1", "--predictions", "DeQA=nowhere.csv"], 1, "cannot read nowhere.csv: No such file"),
        (["table1", "--model", "tyni"], 1, "give tiny"),
        (["table1", "--model", "a=tiny", "--model", "a=tiny"], 1, "two systems are called a"),
        (["table1", "--data", "data/kadis"], 1, "data/kadis has degradation rows, but table1 needs score"),
        (["table1", "--data", "nowhere/koniq"], 1, "qinsight prepare koniq SOURCE --out nowhere/koniq"),
        (["table1", "--split", "validation", "--data", "data/koniq"], 1, "it has test"),
        (["table1", "--model", "a/b=tiny", "--model", "a_b=tiny"], 1, "a/b and a_b, which give the same file name"),
        (["table1", "--metric", "psnr"], 1, "PSNR needs references"),
        (["table2", "--metric", "niqe"], 1, "one number per picture"),
        (["table2", "--model", "deqa:tiny"], 1, "rates by level words"),
        (["table1", "--metric", "niqee"], 2, "did you mean niqe?"),
        (["table1", "--plcc", "cubic"], 2, "logistic"),
        (["table1", "--ties", "double"], 2, "half"),
        (["table1", "--out", "data"], 1, "data already holds files that are no bench"),
        (["table1", "--bootstrap", "-1"], 2, "--bootstrap"),
    ],
)
def test_mistakes_are_one_line(run: Callable[..., Any], arguments: list[str], code: int, words: str) -> None:
    done = run("bench", *arguments)
    assert done.code == code
    assert done.out == ""
    last = done.err.splitlines()[-1]
    assert last.startswith("qinsight: error: ")
    assert words in last
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,rating", "zebra.png,3"], "is about other pictures than"),
        (["path,winner", "00.png,Image A"], "score needs path,rating"),
        (["path,rating", "00.png,1", "images/00.png,2"], "names 2 pictures"),
        (["path,rating", "koniq/images/00.png,1", "data/koniq/images/00.png,2"], "has two different answers"),
    ],
)
def test_mistakes_in_predictions_are_one_line(run: Callable[..., Any], lines: list[str], words: str) -> None:
    Path("p.csv").write_text("\n".join(lines) + "\n")
    folders = [] if "names 2" in words else ["--data", "data/koniq"]
    done = run("bench", "table1", "--predictions", "x=p.csv", *folders)
    assert done.code == 1
    assert words in done.err.splitlines()[-1]


@pytest.mark.usefixtures("all_tasks", "pixel_model", "undrawn")
def test_constant_and_nan_predictions_are_said_and_not_computed(run: Callable[..., Any]) -> None:
    rows = [f"koniq/images/{i:02d}.png,3" for i in range(11)] + ["koniq/images/11.png,nan"]
    Path("p.csv").write_text("\n".join(["path,rating", *rows]) + "\n")
    done = run("bench", "table1", "--predictions", "flat=p.csv", "--data", "data/koniq", "--out", "out")
    assert done.code == 3
    assert "No figure: all predictions are 3: the correlation is undefined (1 of 12 pictures have no rating" in done.out
    assert bench_data.long_rows(Path("out/table1-long.csv"))["flat", "KonIQ", "PLCC"]["value"] == ""


@pytest.mark.usefixtures("pixel_model")
def test_two_pictures_have_no_correlation(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench_data.scores(Path("data/koniq"), "koniq", 2)
    done = run("bench", "table1", "--out", "out")
    assert done.code == 0
    assert "a correlation needs at least 3 pictures, not 2" in done.out
