"""--html: the rows of a run as a gallery, beside a table or files, and what stops before the model is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.report.gallery import write


def names(path: str = "r.html") -> list[str]:
    return re.findall(r'data-name="([^"]*)"', Path(path).read_text(encoding="utf-8"))


def test_score_degrade_and_compare_write_one(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("score", "photos", "missing.jpg", "--html", "r.html")
    assert done.code == 3
    assert "written to r.html" in done.err
    assert names() == [*(f"{i}.png" for i in range(7)), "missing.jpg"]  # brighter is better to this stand-in
    html = Path("r.html").read_text(encoding="utf-8")
    assert html.count("data:image/webp") == 7
    assert "8 pictures judged by pixels-tiny" in html
    assert not Path("r.html.journal.jsonl").exists()
    assert run("degrade", "photos", "--html", "r.html", "--csv", "r.csv").code == 0
    assert names()[0] == "0.png"
    assert len(Path("r.csv").read_text().splitlines()) == 8
    assert run("compare", photos[1], photos[5], "--html", "r.html").code == 0
    assert names() == ["1.png, 5.png"]
    assert "Image B is better" in Path("r.html").read_text(encoding="utf-8")


def test_a_selection_is_what_the_gallery_has(photos: list[str], run: Any, pixel_model: Any) -> None:
    run("score", "photos", "--top", 2, "--sort", "best", "--html", "r.html")
    assert sorted(names()) == ["5.png", "6.png"]


def test_over_the_limit_a_folder_of_pages(
    photos: list[str], run: Any, pixel_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "PER_PAGE", 3)
    done = run("score", "photos", "--html", "r.html")
    assert "3 pages" in done.err
    assert [len(names(path)) for path in ("r.html", "r-pages/page-2.html", "r-pages/page-3.html")] == [3, 3, 1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--html", "-"), 2, "--html needs a file"),
        (("--html", "a", "--csv", "a"), 2, "are both a"),
        (("--html", "photos/0.png"), 1, "this command reads it"),
        (("--html", "mine.html"), 1, "--force"),
        (("--csv", "a.csv", "--html", "a.csv.journal.jsonl"), 2, "the journal of a.csv"),
    ],
)
def test_mistakes_stop_before_the_model(
    photos: list[str], run: Any, pixel_model: Any, options: tuple[str, ...], code: int, words: str
) -> None:
    Path("mine.html").write_text("<p>mine</p>")
    done = run("score", *photos, *options)
    assert done.code == code
    assert words in done.err
    assert not pixel_model


def test_an_interrupted_gallery_goes_on(photos: list[str], run: Any, mortal: Any, pixel_model: Any) -> None:
    options = ("score", "photos", "--batch-size", "2", "--html")
    assert mortal("interrupt", 2, *options, "a.html").returncode == 130
    assert not Path("a.html").exists()
    assert "resuming: " in run(*options, "a.html").err
    assert run(*options, "b.html").code == 0
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()
