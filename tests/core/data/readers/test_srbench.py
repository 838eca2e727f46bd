from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from qinsight_cli.core.data.labels import Label
from qinsight_cli.core.data.readers import srbench
from qinsight_cli.core.errors import QInsightError


def better(label: Label) -> str:
    """The winner's picture, whatever the order of the pair."""
    assert label.truth is not None
    return label.images["image_a" if label.truth["winner"] == "Image A" else "image_b"]


@pytest.fixture
def straight(data_dir: Path) -> Path:
    return data_dir / "labels/visualquality-r1/SRIQA-Bench_test_all.txt"


def test_all_pairs_and_their_parts(straight: Path) -> None:
    labels = srbench.read(straight).labels
    parts = Counter(part for label in labels for part in label.extra["subsets"])
    assert parts == {"all": 5500, "regression": 300, "generation": 3600}
    frame = pd.read_csv(straight, sep=r"\s+", header=None, names=["ref", "name", "mos"]).set_index("name")
    for label in labels[::97]:
        a, b = label.images["image_a"], label.images["image_b"]
        assert better(label) == (a if frame.mos[a] > frame.mos[b] else b)
        assert label.raw == [frame.mos[a], frame.mos[b]]
    firsts = Counter(label.truth["winner"] for label in labels if label.truth)
    assert firsts["Image A"] + firsts["Image B"] == 5500
    assert 2550 < firsts["Image A"] < 2950  # the order says nothing


def test_the_inverted_file_gives_the_same_ordering(straight: Path, data_dir: Path) -> None:
    other = srbench.read(data_dir / "labels/a-fine/normalize_SRIQA_mos.txt")
    right = srbench.read(straight)
    assert {label.id: better(label) for label in other.labels} == {label.id: better(label) for label in right.labels}
    assert (right.card["inverted_file"], other.card["inverted_file"]) == (False, True)
    assert any("reversed" in note for note in other.notes)
    known = {label.id: label for label in right.labels}
    for label in other.labels[::53]:
        assert sorted(label.raw) == pytest.approx(sorted(known[label.id].raw), abs=1e-9)


def test_known_mos(straight: Path) -> None:
    asked = {"Original", "RealESRNet"}
    found = [x for x in srbench.read(straight).labels if x.content == "online20" and set(x.extra["methods"]) == asked]
    (label,) = found
    assert sorted(round(value, 2) for value in label.raw) == [15.93, 67.60]


def bench(folder: Path, draw, mos: dict[str, float]) -> Path:
    """images/METHOD/... and MOS/CONTENT_Original.txt, as the authors lay them out."""
    for number, (method, value) in enumerate(mos.items()):
        tail = method if method == "Original" else f"{method}x4"
        draw(folder / "images" / method / f"online1_{tail}.png", number)
        (folder / "MOS").mkdir(exist_ok=True)
        with (folder / "MOS/online1_Original.txt").open("a") as file:
            file.write(f"online1_{tail}.png,{value}\n")
    return folder


MOS = {"Original": 90.0, "SwinIR": 10.0, "RealESRNet": 20.0, "HGGT": 60.0}


def test_the_authors_layout(tmp_path: Path, draw, prepared) -> None:
    rows, card, problems = prepared(srbench.read(bench(tmp_path / "sr", draw, MOS)))
    assert len(rows) == 6
    assert problems == []
    assert card["counts"] == {"test/comparison": 6}
    for row in rows.values():
        values = [MOS[method] for method in row.extra["methods"]]
        assert row.truth["winner"] == ("Image A" if values[0] > values[1] else "Image B")
        assert set(row.images) == {"image_a", "image_b"}


def test_references_from_a_folder(tmp_path: Path, draw, prepared) -> None:
    folder = bench(tmp_path / "sr", draw, MOS)
    draw(tmp_path / "lr/online1_LR.png", 77, (9, 8))
    rows, card, _ = prepared(srbench.read(folder, references=tmp_path / "lr"))
    assert card["references"] is True
    assert {row.images["reference"].name for row in rows.values()} == {"online1_LR.png"}
    (tmp_path / "lr/online1_LR.png").rename(tmp_path / "lr/online2_LR.png")
    with pytest.raises(QInsightError, match="no reference for 1 contents, the first 'online1'"):
        srbench.read(folder, references=tmp_path / "lr")


def vote(folder: Path, rater: str, first: str, second: str, labels: tuple[str, str]) -> None:
    path = folder / f"labels/{rater}/online1_Original/{first}-{second}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = {
        f"Picture_0{i}": {"Name": f"online1_{name}.png", "Label": label}
        for i, (name, label) in enumerate(zip((first, second), labels, strict=True), 1)
    }
    path.write_text(json.dumps(pictures))


def test_the_raters_own_answers(tmp_path: Path, draw, prepared) -> None:
    folder = bench(tmp_path / "sr", draw, MOS)
    for first, second in itertools.combinations(("Original", "SwinIRx4", "RealESRNetx4"), 2):
        vote(folder, "A", first, second, ("Positive", "Negative"))
        vote(folder, "B", first, second, ("Positive", "Similar"))
        vote(folder, "C", first, second, ("Similar", "Similar"))
    vote(folder, "A", "HGGTx4", "Original", ("Similar", "Similar"))
    rows, card, _ = prepared(srbench.read(folder, "votes"))
    assert card["truth"] == "votes"
    assert len(rows) == 4
    by_methods = {frozenset(row.extra["methods"]): row for row in rows.values()}
    row = by_methods[frozenset({"Original", "SwinIR"})]
    original = f"Image {'AB'[row.extra['methods'].index('Original')]}"
    assert row.truth == {"winner": original}
    assert row.extra["votes"] == {"Image A": 0, "Image B": 0} | {original: 2, "Similar": 1}
    assert by_methods[frozenset({"Original", "HGGT"})].truth == {"winner": "Similar"}
    shutil.rmtree(folder / "MOS")
    assert srbench.read(folder).card["truth"] == "votes"  # there is nothing else


def test_bad_input(tmp_path: Path) -> None:
    (tmp_path / "SRIQA.txt").write_text("online1_Original.png online1_Magicx4.png 5\n")
    with pytest.raises(QInsightError, match="names no method"):
        srbench.read(tmp_path)
    (tmp_path / "SRIQA.txt").write_text("online1_Original.png 5\nonline1_Original.png 6\n")
    with pytest.raises(QInsightError, match=r"line 2: 'online1_Original\.png' is labelled twice"):
        srbench.read(tmp_path)
    with pytest.raises(QInsightError, match="take --truth mos"):
        srbench.read(tmp_path, "votes")
    vote(tmp_path, "A", "SwinIRx4", "Original", ("Good", "Bad"))
    with pytest.raises(QInsightError, match="is not an answer of SRIQA-Bench"):
        srbench.read(tmp_path)
