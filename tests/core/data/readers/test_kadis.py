from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.data.problems import UNLABELLED
from qinsight_cli.core.data.readers import kadis
from qinsight_cli.core.errors import QInsightError

OTHERS = (
    *("brighten", "contrast_strengthen", "contrast_weaken", "saturate_strengthen", "saturate_weaken"),
    *("oversharpen", "pixelate", "quantization"),
)
KINDS = ("noise", "blur", "compression", "darken", None, *OTHERS)


def record(number: int, kind: str | None, severity: int) -> dict[str, Any]:
    """A record as DepictQA's scripts write it."""
    return {
        "distortion_class": kind,
        "distortion_name": kind and f"{kind}_kind",
        "severity": severity,
        "id": f"p{number:03d}_0",
        "image_ref": f"KADIS700K/ref_imgs_s224/p{number:03d}.png",
        "image_A": f"KADIS700K/refA_sd_brief/dist_imgs/p{number:03d}_0.png",
        "image_B": None,
    }


def metas(folder: Path, **records: list[dict[str, Any]]) -> Path:
    (folder / "metas").mkdir(parents=True, exist_ok=True)
    for name, content in records.items():
        (folder / "metas" / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    """130 training and 26 test records, every class and severity alike, with their pictures."""
    train = [record(i, KINDS[i % 13], 1 + i % 5 if KINDS[i % 13] else 0) for i in range(130)]
    test = [record(i, KINDS[i % 13], 1 + i % 5 if KINDS[i % 13] else 0) for i in range(130, 156)]
    folder = tmp_path / "KADIS700K/refA_sd_brief"
    metas(folder, train_refA_sd_brief=train, test_refA_sd_single_5k=test[:20], test_refA_sd_brief_28k=test)
    for i in range(156):
        draw(folder / f"dist_imgs/p{i:03d}_0.png", i)
    return folder


def test_the_five_classes_are_kept(source: Path, prepared) -> None:
    labelled = kadis.read(source)
    rows, card, problems = prepared(labelled)
    assert Counter((r.split, r.truth["distortion"]) for r in rows.values()) == {
        ("train", kind or "null"): 10 for kind in KINDS[:5]
    } | {("test", kind or "null"): 2 for kind in KINDS[:5]}
    assert card["other_classes"] == dict.fromkeys(sorted(OTHERS), 12)
    assert not [problem for problem in problems if problem.kind == UNLABELLED]  # other classes are known
    row = rows["p013_0"]
    assert row.truth == {"distortion": "noise", "severity": "serious"}
    assert row.raw_label == ["noise", 4]
    assert row.extra == {"content": "p013", "generator": "noise_kind"}
    assert rows["p004_0"].truth == {"distortion": "null", "severity": "null"}


def test_severities_are_in_the_papers_words(tmp_path: Path) -> None:
    metas(tmp_path, train_refA_sd=[record(i, "blur", i) for i in range(1, 6)])
    said = [label.truth["severity"] for label in kadis.read(tmp_path).labels if label.truth]
    assert said == ["slight", "moderate", "obvious", "serious", "catastrophic"]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_source_may_be_any_folder_around_it(above: int, source: Path, prepared) -> None:
    folder = [source, source.parent, source.parent.parent][above]
    rows, _, _ = prepared(kadis.read(folder), out=folder.parent / "out-elsewhere")
    assert len(rows) == 60


def test_a_quota_for_each_split_by_class(source: Path, prepared) -> None:
    rows, card, _ = prepared(kadis.read(source), quota={"train": 25, "test": 5})
    counts = Counter((row.split, row.truth["distortion"]) for row in rows.values())
    assert counts == {("train", kind or "null"): 5 for kind in KINDS[:5]} | {
        ("test", kind or "null"): 1 for kind in KINDS[:5]
    }
    assert card["quota"] == {"train": 25, "test": 5}


def test_the_papers_own_records(tmp_path: Path) -> None:
    metas(
        tmp_path,
        train_dist=[
            {"image": "refA_sd_brief/dist_imgs/a_0.png", "distortion_class": "noise", "severity": "serious"},
            {"image": "refA_sd_brief/dist_imgs/b_0.png", "distortion_class": "null", "severity": "null"},
        ],
    )
    assert [label.truth for label in kadis.read(tmp_path).labels] == [
        {"distortion": "noise", "severity": "serious"},
        {"distortion": "null", "severity": "null"},
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"severity": 6}, "severity 6 with class noise"),
        ({"severity": 0}, "severity 0 with class noise"),
        ({"distortion_class": None}, "severity 2 with class null"),
        ({"image_A": None}, "the record has none of image_A"),
    ],
)
def test_bad_records(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    metas(tmp_path, train_refA_sd=[record(1, "noise", 2) | change])
    with pytest.raises(QInsightError, match=words):
        kadis.read(tmp_path)


def test_one_picture_with_two_labels(tmp_path: Path) -> None:
    metas(tmp_path, train_refA_sd=[record(1, "noise", 2), record(1, "noise", 3)])
    with pytest.raises(QInsightError, match=r"record 2: .* is another in train_refA_sd\.json, record 1"):
        kadis.read(tmp_path)


def test_metas_of_plain_names(tmp_path: Path) -> None:
    metas(tmp_path, train_28k=[record(1, "blur", 1)], test_5k=[record(2, "noise", 2), record(3, None, 0)])
    assert [(label.id, label.split) for label in kadis.read(tmp_path).labels] == [
        *(("p002_0", "test"), ("p003_0", "test"), ("p001_0", "train"))
    ]
