from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.data.readers import diffiqa
from qinsight_cli.core.errors import QInsightError


@pytest.fixture
def authors(data_dir: Path) -> Path:
    return data_dir / "labels/q-insight/train_comparison.json"


def enhancer(name: str) -> int:
    return int(name.split("/")[0])


def test_the_authors_file(authors: Path) -> None:
    labels = diffiqa.read(authors, "original").labels
    counts = Counter(label.truth["winner"] for label in labels if label.truth)
    assert counts == {"Image A": 2009, "Image B": 1991, "Similar": 1000}
    assert len({label.content for label in labels}) == 1601
    assert all(enhancer(label.images["image_a"]) < enhancer(label.images["image_b"]) for label in labels)


def test_a_seeded_swap_by_default(authors: Path) -> None:
    labels = diffiqa.read(authors).labels
    first = sum(enhancer(label.images["image_a"]) < enhancer(label.images["image_b"]) for label in labels)
    assert 2350 < first < 2650  # within about four standard deviations of a half
    records = {(r["ImageA"], r["ImageB"]): r["result"] for r in json.loads(authors.read_text())}
    for label in labels:
        a, b, winner = label.images["image_a"], label.images["image_b"], label.truth["winner"]  # type: ignore[index]
        published = records[(b, a) if label.extra["swapped"] else (a, b)]
        better = {"Image A": 0, "Image B": 1}
        if published == "Similar":
            assert winner == "Similar"
        else:
            chosen = (a, b)[better[winner]]
            assert chosen == ((b, a) if label.extra["swapped"] else (a, b))[better[published]]
    assert [label.id for label in diffiqa.read(authors).labels] == [label.id for label in labels]
    assert [label.id for label in diffiqa.read(authors, seed=1).labels] != [label.id for label in labels]


def test_both_orders(authors: Path) -> None:
    labels = diffiqa.read(authors, "both").labels
    assert len(labels) == 10_000
    counts = Counter(label.truth["winner"] for label in labels if label.truth)
    assert counts == {"Image A": 4000, "Image B": 4000, "Similar": 2000}


def records(*results: str) -> list[dict[str, Any]]:
    return [
        {"ref_image": f"Original/r{i}.png", "ImageA": f"01/r{i}_01.png", "ImageB": f"04/r{i}_04.png", "result": result}
        for i, result in enumerate(results)
    ]


def test_rows_and_their_pictures(tmp_path: Path, draw, prepared) -> None:
    folder = tmp_path / "DiffIQA/ValidationImage"
    content = records("Image A", "Image B", "Similar")
    for number, name in enumerate(r[key] for r in content for key in ("ref_image", "ImageA", "ImageB")):
        draw(folder / "images" / name, number)
    (folder / "train_comparison.json").write_text(json.dumps(content))
    rows, card, problems = prepared(diffiqa.read(folder, "original"))
    assert problems == []
    assert card["orders"] == "original"
    assert card["counts"] == {"train/comparison": 3}
    row = rows["r1_01-r1_04"]
    assert row.truth == {"winner": "Image B"}
    assert list(row.images) == ["reference", "image_a", "image_b"]
    assert row.images["reference"].parts[-2:] == ("Original", "r1.png")
    assert row.images["image_b"].parts[-2:] == ("04", "r1_04.png")


def test_a_pair_without_its_reference_is_no_row(tmp_path: Path, draw, prepared) -> None:
    content = records("Image A", "Image B")
    for number, name in enumerate(r[key] for r in content for key in ("ref_image", "ImageA", "ImageB")):
        draw(tmp_path / "d/images" / name, number)
    (tmp_path / "d/images/Original/r0.png").unlink()
    (tmp_path / "d/train_comparison.json").write_text(json.dumps(content))
    rows, _, problems = prepared(diffiqa.read(tmp_path / "d", "original"), skip_bad=True)
    assert set(rows) == {"r1_01-r1_04"}
    assert "Original/r0.png" in [problem.name for problem in problems]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"result": "A"}, "record 1: the result is 'A'"), ({"ImageB": ""}, "record 1: the record has no text as ImageB")],
)
def test_bad_records(change: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "train_comparison.json").write_text(json.dumps([records("Image A")[0] | change]))
    with pytest.raises(QInsightError, match=words):
        diffiqa.read(tmp_path)
