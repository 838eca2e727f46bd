"""The card of a dataset folder: who may write there, and what is never replaced without being asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qinsight_cli.core.data.card import claimed, read_card, refuse_to_shrink
from qinsight_cli.core.errors import QInsightError

CARD = {"name": "x", "seed": 0, "labels_digest": "1" * 64}


def claim(folder: Path, force: bool = False, **changed: object) -> None:
    with claimed(folder, {**CARD, **changed}, force):
        pass


def finish(folder: Path) -> None:
    """The dataset as `write_dataset` leaves it."""
    (folder / "train.jsonl").write_text("{}\n")
    card = {**CARD, "problems": {"missing image": 2}, "counts": {"train/score": 9}, "sha256": {"train": "0"}}
    (folder / "dataset.json").write_text(json.dumps(card))


def test_a_folder_belongs_to_one_dataset(tmp_path: Path) -> None:
    claim(tmp_path / "new/deep")
    assert json.loads((tmp_path / "new/deep/dataset.json").read_text()) == {"name": "x", "unfinished": True}
    claim(tmp_path / "new/deep", seed=3)  # an interrupted run may go on, also in another way
    with pytest.raises(QInsightError, match="already holds the dataset 'x'; choose another --out"):
        claim(tmp_path / "new/deep", name="y")
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    with pytest.raises(QInsightError, match="already holds files that are no dataset"):
        claim(tmp_path / "photos", force=True)
    assert {path.name for path in (tmp_path / "photos").iterdir()} == {"a.jpg"}
    with pytest.raises(QInsightError, match="is a file; choose another --out"):
        claim(tmp_path / "photos/a.jpg")


def test_a_finished_dataset_is_made_again_only_in_the_same_way(tmp_path: Path) -> None:
    claim(tmp_path)
    finish(tmp_path)
    claim(tmp_path)
    with pytest.raises(
        QInsightError, match=r"holds 9 rows .* \(limit \(none\) -> 4, seed 0 -> 1\); give another --out"
    ):
        claim(tmp_path, seed=1, limit=4)
    with pytest.raises(QInsightError, match=r"\(labels digest\); give another --out, or --force"):
        claim(tmp_path, labels_digest="2" * 64)
    claim(tmp_path, force=True, seed=1)


def test_a_dataset_does_not_shrink(tmp_path: Path) -> None:
    claim(tmp_path)
    finish(tmp_path)
    refuse_to_shrink(tmp_path, read_card(tmp_path), 9)
    with pytest.raises(QInsightError, match="holds 9 rows and would keep 8"):
        refuse_to_shrink(tmp_path, read_card(tmp_path), 8)


def test_two_preparations_at_once_are_refused(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "d", CARD),
        pytest.raises(QInsightError, match="another qinsight is writing"),
        claimed(tmp_path / "d", CARD),
    ):
        pass
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"dataset.json"}


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ('{"counts": [], "sha256": 7, "name": ["x"], "seed": 1}', {"seed": 1}),
        ('{"counts": {"train/score": "many", "test/score": 2}}', {"counts": {"test/score": 2}}),
        ("[" * 100_000, {}),
        ('{"counts": ' + "9" * 5000 + "}", {}),
        ("\ufeff{}", {}),
    ],
)
def test_a_card_of_any_content_is_read_without_what_is_wrong(text: str, card: dict, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    assert read_card(tmp_path) == card
