"""Which datasets a table is measured on, and how a sample of them is drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.bench import datasets
from qinsight_cli.core.bench.paper import choose_tables
from qinsight_cli.core.bench.protocols import score
from qinsight_cli.core.errors import QInsightError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names(*tables: str) -> list[str]:
    return [folder.name for folder in datasets.datasets_of_table([], choose_tables(tables)[0])[0]]


def test_without_data_the_missing_datasets_are_named_with_their_command() -> None:
    found, missing = datasets.datasets_of_table([], choose_tables(["table5"])[0])
    assert found == []
    assert missing == ["srbench is not prepared: qinsight prepare srbench SOURCE"]
    assert len(datasets.datasets_of_table([], choose_tables(["table1"])[0])[1]) == 7


def test_data_under_data_is_found_by_task(make: Any) -> None:
    make.scores(Path("data/koniq"), "koniq")
    make.scores(Path("data/mine"), "csv")
    make.degradations(Path("data/kadis"))
    make.comparisons(Path("data/srbench"))
    assert names("table1") == ["koniq", "mine"]
    assert names("table2") == ["kadis"]
    assert names("table5") == ["srbench"]
    loaded = datasets.load_dataset(Path("data/koniq"), "score", "test", None, 0)
    assert loaded is not None
    assert score.column_of(loaded) == "KonIQ"


def test_the_papers_own_dataset_goes_before_others_for_tables_with_one(make: Any) -> None:
    make.degradations(Path("data/synth"), "synth")
    assert names("table2") == ["synth"]
    make.degradations(Path("data/kadis"))
    assert names("table2") == ["kadis"]


def test_computed_ratings_are_measured_on_only_when_named(make: Any) -> None:
    make.scores(Path("data/synth"), "synth", ratings="pseudo-MOS from means")
    assert names("table1") == []
    assert [f.name for f in datasets.datasets_of_table([Path("data/synth")], choose_tables(["table1"])[0])[0]] == [
        "synth"
    ]
    loaded = datasets.load_dataset(Path("data/synth"), "score", "test", None, 0)
    assert loaded is not None
    assert loaded.note == "The ratings of synth are pseudo-MOS from means."


def test_folders_that_serve_no_table_are_refused(make: Any) -> None:
    make.degradations(Path("data/kadis"))
    with pytest.raises(QInsightError, match="data/kadis has degradation rows, but table1 needs score"):
        datasets.check_folders([Path("data/kadis")], choose_tables(["table1"]))
    datasets.check_folders([Path("data/kadis")], choose_tables(["table1", "table2"]))
    with pytest.raises(QInsightError, match="qinsight prepare koniq SOURCE --out elsewhere/koniq"):
        datasets.check_folders([Path("elsewhere/koniq")], choose_tables(["table1"]))
    make.degradations(Path("b/kadis"))
    with pytest.raises(QInsightError, match="two datasets are called kadis"):
        datasets.check_folders([Path("data/kadis"), Path("b/kadis")], choose_tables(["table2"]))


def test_a_split_that_is_not_there_says_which_are(make: Any) -> None:
    make.scores(Path("data/koniq"), "koniq")
    with pytest.raises(QInsightError, match=r"has no validation\.jsonl; it has test"):
        datasets.load_dataset(Path("data/koniq"), "score", "validation", None, 0)


def test_a_sample_keeps_the_shares_of_class_and_severity(make: Any) -> None:
    make.degradations(Path("data/kadis"), each=6)
    drawn = datasets.load_dataset(Path("data/kadis"), "degradation", "test", 10, 0)
    assert drawn is not None
    assert (len(drawn.samples), drawn.total) == (10, 30)
    assert Counter(sample.truth["distortion"] for sample in drawn.samples) == dict.fromkeys(
        ("noise", "blur", "compression", "darken", "null"), 2
    )
    again = datasets.load_dataset(Path("data/kadis"), "degradation", "test", 10, 0)
    other = datasets.load_dataset(Path("data/kadis"), "degradation", "test", 10, 1)
    assert again is not None
    assert other is not None
    assert again.samples == drawn.samples != other.samples


def test_a_sample_of_ratings_keeps_the_shares_of_the_scale(make: Any) -> None:
    make.scores(Path("data/koniq"), "koniq", 100)
    drawn = datasets.load_dataset(Path("data/koniq"), "score", "test", 20, 0)
    assert drawn is not None
    # Ratings 1 + 4 (i / 99)^2: 45 % of them in the lowest fifth of the scale, 11 % in the highest.
    fifths = Counter(min(4, int((sample.truth["rating"] - 1) / 0.8)) for sample in drawn.samples)
    assert fifths[0] == 9
    assert min(fifths.values()) >= 2


def test_a_sample_of_pairs_is_of_whole_contents(make: Any) -> None:
    make.comparisons(Path("data/srbench"), 4)
    drawn = datasets.load_dataset(Path("data/srbench"), "comparison", "test", 120, 0)
    assert drawn is not None
    assert len(drawn.samples) == 110
    one = datasets.load_dataset(Path("data/srbench"), "comparison", "test", 5, 0)
    assert one is not None
    assert len(one.samples) == 55
