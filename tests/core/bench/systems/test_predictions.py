"""Predictions files: paths written in any way, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.bench import datasets
from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer
from qinsight_cli.core.bench.systems.predictions import MISSING, ImageMatcher, PredictionsFile
from qinsight_cli.core.errors import QInsightError


def load(folder: Path, task: str) -> Dataset:
    dataset = datasets.load_dataset(folder, task, "test", None, 0)
    assert dataset is not None
    return dataset


@pytest.fixture
def koniq(make: Any, tmp_path: Path) -> Dataset:
    return load(make.scores(tmp_path / "koniq", "koniq", 4), "score")


def predictions(tmp_path: Path, *lines: str) -> PredictionsFile:
    path = tmp_path / "p.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return PredictionsFile("x", path)


def ratings(said: Any) -> list[Any]:
    return [answer.fields.get("rating", answer.error) for answer in said]


def test_paths_are_matched_however_they_are_written(
    tmp_path: Path, koniq: Dataset, answer_settings: AnswerSettings
) -> None:
    here = koniq.samples[1].images["image"]
    found = predictions(
        *(tmp_path, "path,rating", "03.png,4"),
        *(f"{here},2", "D:\\elsewhere\\Koniq\\IMAGES\\02.PNG,3", "./images/../images/00.png,1"),
    )
    assert ratings(found.answers(koniq, answer_settings)) == [1.0, 2.0, 3.0, 4.0]


def test_a_name_that_several_pictures_have_needs_more_of_its_path() -> None:
    pictures = ImageMatcher([Path("/a/one/1.png"), Path("/a/two/1.png")])
    assert pictures.find("one/1.png") == ("a", "one", "1.png")
    assert pictures.find("two\\1.PNG") == ("a", "two", "1.png")
    with pytest.raises(QInsightError, match=r"'1\.png' names 2 pictures"):
        pictures.find("1.png")
    with pytest.raises(QInsightError, match="names 2 pictures"):
        pictures.find("three/1.png")
    assert pictures.find("2.png") is None
    assert list(pictures.unknown) == ["2.png"]
    assert list(pictures.by_name) == []
    assert ImageMatcher([Path("/a/1.png")]).find("b/1.png") == ("a", "1.png")


def test_of_names_that_differ_in_case_space_or_form_alone_the_exact_one_counts() -> None:
    names = ["A.png", "a.png", " a.png", "caf\u00e9.png", "cafe\u0301.png"]
    pictures = ImageMatcher([Path("/p") / name for name in names])
    assert [pictures.find(f"other/{name}") for name in names] == [("p", name) for name in names]
    assert ImageMatcher([Path("/p/A.png")]).find("a.PNG ") == ("p", "A.png")
    assert ImageMatcher([Path("/p/bad\udcff.png")]).find("bad\\udcff.png") == ("p", "bad\udcff.png")
    with pytest.raises(QInsightError, match="names 3 pictures"):
        pictures.find("a.PNG")


def test_missing_and_unreadable_ratings_are_rows_with_an_error(
    tmp_path: Path, koniq: Dataset, answer_settings: AnswerSettings
) -> None:
    found = predictions(tmp_path, "path,rating", "00.png,nan", "01.png,good", "02.png,3.5")
    words = ratings(found.answers(koniq, answer_settings))
    assert words == ["the rating is 'nan', not a number", "the rating is 'good', not a number", 3.5, MISSING]


def test_rows_about_other_pictures_are_counted(
    tmp_path: Path, koniq: Dataset, answer_settings: AnswerSettings, told: list[str]
) -> None:
    predictions(tmp_path, "path,rating", "00.png,1", "99.png,2", "98.png,2").answers(koniq, answer_settings)
    assert told == [f"{tmp_path}/p.csv: 2 of 3 rows name no picture of the datasets, the first '99.png'"]


def test_a_file_about_other_pictures_alone_is_told_apart(
    tmp_path: Path, koniq: Dataset, answer_settings: AnswerSettings
) -> None:
    found = predictions(tmp_path, "path,rating", "other/77.png,1")
    assert found.answers(koniq, answer_settings) == []
    assert found.matched == 0
    assert "about other pictures than koniq" in found.mismatch
    assert "'other/77.png'" in found.mismatch
    assert "'00.png'" in found.mismatch


def test_two_answers_to_one_picture_are_refused_unless_they_agree(
    tmp_path: Path, koniq: Dataset, answer_settings: AnswerSettings
) -> None:
    with pytest.raises(QInsightError, match=r"has two different answers for images/00\.png"):
        predictions(tmp_path, "path,rating", "00.png,1", "images/00.png,2").answers(koniq, answer_settings)
    found = predictions(tmp_path, "path,rating", "00.png,1", "images/00.png,1.0")
    assert ratings(found.answers(koniq, answer_settings))[0] == 1.0


def test_columns_of_another_task_are_refused(tmp_path: Path, koniq: Dataset) -> None:
    found = predictions(tmp_path, "path,winner", "00.png,Image A")
    assert found.refusal(koniq) == f"{tmp_path}/p.csv has the columns path,winner; score needs path,rating"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no predictions"),
        (b"path,rating\n", "holds no predictions"),
        (b"path\n\xff\xfe", "not text"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(QInsightError, match=words):
        PredictionsFile("x", path)
    with pytest.raises(QInsightError, match="cannot read"):
        PredictionsFile("x", tmp_path / "nowhere.csv")


def test_degradations_take_the_papers_words_for_compression_and_nothing(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    dataset = load(make.degradations(tmp_path / "kadis", each=1), "degradation")
    found = predictions(
        *(tmp_path, "path,distortion,severity", "noise-0.png,Noise,Slight", "blur-0.png,fog,slight"),
        *("compression-0.png,JPEG,serious", "darken-0.png,darken,much", "null-0.png,none,"),
    ).answers(dataset, answer_settings)
    assert found[0] == RowAnswer({"distortion": "noise", "severity": "slight"})
    assert found[2] == RowAnswer({"distortion": "compression", "severity": "serious"})
    assert found[4] == RowAnswer({"distortion": "null", "severity": "null"})
    assert "the distortion is 'fog'" in str(found[1].error)
    assert "the severity is 'much'" in str(found[3].error)


def test_a_row_with_an_error_and_no_answer_is_never_null(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    dataset = load(make.degradations(tmp_path / "kadis", each=1), "degradation")
    found = predictions(
        *(tmp_path, "path,distortion,severity,reasoning,error", "null-0.png,,,,truncated: no answer"),
        *(
            "noise-0.png,,,,",
            "blur-0.png,blur,,,unknown_severity: the severity is 'mild'",
            "darken-0.png,darken,mild,,",
        ),
        "compression-0.png,none,none,,",
    ).answers(dataset, answer_settings)
    by_name = {sample.images["image"].stem: answer for sample, answer in zip(dataset.samples, found, strict=True)}
    assert by_name["null-0"] == RowAnswer({}, "truncated: no answer")
    assert by_name["noise-0"] == RowAnswer({}, "no answer")
    kept = {"distortion": "blur", "severity": None}
    assert by_name["blur-0"] == RowAnswer(kept, "unknown_severity: the severity is 'mild'")
    assert by_name["darken-0"].fields == {"distortion": "darken", "severity": None}
    assert by_name["compression-0"] == RowAnswer({"distortion": "null", "severity": "null"})


def test_empty_ratings_and_winners_are_no_answers(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    pairs = load(make.comparisons(tmp_path / "srbench", 1), "comparison")
    first, second = (pairs.samples[0].images[role].name for role in ("image_a", "image_b"))
    said = predictions(tmp_path, "image_a,image_b,winner,error", f"{first},{second},,out of memory")
    assert said.answers(pairs, answer_settings)[0] == RowAnswer({}, "out of memory")
    koniq = load(make.scores(tmp_path / "koniq", "koniq", 2), "score")
    said = predictions(tmp_path, "path,rating", "00.png,", "01.png,2")
    assert [answer.error for answer in said.answers(koniq, answer_settings)] == ["no answer", None]


def test_a_column_that_stands_twice_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match=r"p\.csv has two columns named 'rating'; rename or remove one"):
        predictions(tmp_path, "path,rating, rating", "00.png,1,5")
    assert predictions(tmp_path, "path,rating,,", "00.png,1,,").label == "x"


def test_winners_in_either_order_and_from_ratings(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    dataset = load(make.comparisons(tmp_path / "srbench", 1), "comparison")
    lines, rated = ["image_a,image_b,winner"], {}
    for sample in dataset.samples:
        first, second = (sample.images[role].name for role in ("image_a", "image_b"))
        won = first if sample.truth["winner"] == "Image A" else second
        other = second if won == first else first
        lines.append(f"{won},{other},image a")  # the winner always first, whatever the manifest's order
        rated |= dict(zip((first, second), sample.raw_label, strict=True))
    said = predictions(tmp_path, *lines).answers(dataset, answer_settings)
    assert [answer.fields["winner"] for answer in said] == [sample.truth["winner"] for sample in dataset.samples]
    by_rating = predictions(tmp_path, "path,rating", *(f"{name},{mos}" for name, mos in rated.items()))
    assert [a.fields for a in by_rating.answers(dataset, answer_settings)] == [a.fields for a in said]
    equal = predictions(tmp_path, "path,rating", *(f"{name},1" for name in rated)).answers(dataset, answer_settings)
    assert {answer.fields["winner"] for answer in equal} == {"Similar"}
