from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qinsight_cli.core.data import manifest
from qinsight_cli.core.data.card import read_card
from qinsight_cli.core.data.manifest import FileFacts, Sample, read_split, tasks_of, write_dataset
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.comparison import WINNERS
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
TRUTHS = st.one_of(
    st.floats(1, 5).map(lambda rating: ("score", {"rating": rating})),
    st.tuples(st.sampled_from(DISTORTIONS), st.sampled_from(SEVERITIES)).map(
        lambda pair: ("degradation", {"distortion": pair[0], "severity": pair[1]})
    ),
    st.just(("degradation", {"distortion": "null", "severity": "null"})),
    st.sampled_from(WINNERS).map(lambda winner: ("comparison", {"winner": winner})),
)
JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT, lambda x: st.lists(x, max_size=3)
)
FACTS = st.builds(FileFacts, TEXT, st.integers(1, 9999), st.integers(1, 9999))


@st.composite
def samples(draw: st.DrawFn, folder: Path) -> Sample:
    task, truth = draw(TRUTHS)
    roles = ["image"] if task == "score" or task == "degradation" else ["image_a", "image_b"]
    roles += draw(st.sampled_from([[], ["reference"]]))
    known = {*("id", "task", "split", "source", "images", "files", "raw_label", "reasoning"), *truth}
    return Sample(
        id=draw(TEXT),
        task=task,
        split=draw(st.sampled_from(["train", "test"])),
        source=draw(TEXT),
        images={role: folder / draw(st.sampled_from(["", "images", "../elsewhere"])) / draw(NAME) for role in roles},
        truth=truth,
        raw_label=draw(st.none() | JSON),
        reasoning=draw(TEXT),
        extra=draw(st.dictionaries(TEXT.filter(lambda name: name not in known), JSON, max_size=3)),
        files=draw(st.dictionaries(st.sampled_from(roles), FACTS)),
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("manifest") / "data"
    rows = data.draw(st.lists(samples(folder), min_size=1, max_size=4))
    card = write_dataset(folder, rows, {"name": "x"})
    read = [
        row for split in ("test", "train") if (folder / f"{split}.jsonl").exists() for row in read_split(folder, split)
    ]
    assert len(read) == len(rows) == sum(card["counts"].values())
    for written, got in zip(sorted(rows, key=lambda row: row.split), read, strict=True):
        assert {role: path.resolve() for role, path in got.images.items()} == {
            role: path.resolve() for role, path in written.images.items()
        }
        for name in ("id", "task", "split", "source", "truth", "raw_label", "reasoning", "extra", "files"):
            assert getattr(got, name) == getattr(written, name)
    assert tasks_of(folder) == {row.task for row in rows}


def score(name: str = "a", split: str = "train", folder: Path = Path("/data")) -> Sample:
    return Sample(name, "score", split, "x", {"image": folder / f"{name}.png"}, {"rating": 3.0})


def test_bytes_are_the_same_twice_and_hashed_in_the_card(tmp_path: Path) -> None:
    rows = [score("a", folder=tmp_path), score("b", "test", tmp_path), score("ünï\u2028", folder=tmp_path)]
    card = write_dataset(tmp_path / "d", rows, {"name": "x"})
    first = {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()}
    assert set(first) == {"train.jsonl", "test.jsonl", "dataset.json"}
    assert card["sha256"] == {s: hashlib.sha256(first[f"{s}.jsonl"]).hexdigest() for s in ("train", "test")}
    assert card["counts"] == {"test/score": 1, "train/score": 2}
    write_dataset(tmp_path / "d", rows, {"name": "x"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()} == first


def test_paths_are_relative(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", [score("a", folder=tmp_path / "pictures")], {})
    assert json.loads((tmp_path / "d/train.jsonl").read_text())["images"] == {"image": "../pictures/a.png"}


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path, [score()], {"name": "x"})
    before = (tmp_path / "train.jsonl").read_bytes()

    def crash(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(manifest.os, "fsync", crash)
    with pytest.raises(QInsightError, match=r"cannot write .*train\.jsonl: power cut"):
        write_dataset(tmp_path, [score("b")], {"name": "x"})
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_pictures_in_the_folder_are_durable_before_a_manifest_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests: list[bool] = []
    monkeypatch.setattr(manifest, "sync_everything", lambda: manifests.append((tmp_path / "train.jsonl").exists()))
    write_dataset(tmp_path, [score("a", folder=tmp_path.parent)], {"name": "x"})
    assert manifests == []
    (tmp_path / "train.jsonl").unlink()
    write_dataset(tmp_path, [score("a", folder=tmp_path.parent), score("b", folder=tmp_path / "images")], {"name": "x"})
    assert manifests == [False]


def test_a_split_that_is_no_more_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    write_dataset(tmp_path, [score("a"), score("b", "test")], {"name": "x"})
    (tmp_path / "mine.jsonl").write_text("mine")
    with pytest.raises(QInsightError, match="holds 2 rows and would keep 1"):
        write_dataset(tmp_path, [score("a")], {"name": "x"})
    write_dataset(tmp_path, [score("a")], {"name": "x"}, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"train.jsonl", "dataset.json", "mine.jsonl"}


def test_a_file_name_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match="is not text; rename the file"):
        write_dataset(tmp_path, [score("\udcff")], {})


GOOD = {"id": "a", "task": "score", "split": "train", "source": "x", "images": {"image": "a.png"}, "rating": 3}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("7", "not a JSON object"),
        (json.dumps({**GOOD, "split": "test"}), "belongs to the split 'test'"),
        (json.dumps({**GOOD, "reasoning": ["dark"]}), "the field 'reasoning' is"),
        (json.dumps({**GOOD, "content": {"a": 1}}), "the field 'content' is"),
        (json.dumps({**GOOD, "damage": ["blur"]}), "the field 'damage' is"),
        (json.dumps({**GOOD, "pseudo_mos": "3"}), "the field 'pseudo_mos' is"),
        (json.dumps({**GOOD, "methods": ["a"]}), "'methods' does not hold two names"),
        (json.dumps({**GOOD, "methods": [["a"], 2]}), "'methods' does not hold two names"),
        (json.dumps({**GOOD, "id": True}), "the field 'id' is"),
        (json.dumps({**GOOD, "files": []}), "the field 'files' is"),
        (json.dumps({**GOOD, "files": {"image": {"sha256": [], "width": 1, "height": 1}}}), "sha256, width and height"),
        (json.dumps({**GOOD, "images": {"image": ""}}), "must hold a path for each role"),
        ("[" * 100_000, "line 2"),
        (json.dumps(GOOD).replace("3}", "9" * 5000 + "}"), "line 2"),
        (json.dumps({**GOOD, "task": ["score"]}), "the field 'task' is"),
        (json.dumps({**GOOD, "split": {}}), "the field 'split' is"),
        (json.dumps({**GOOD, "images": {"image": 7}}), "must hold a path for each role"),
        (json.dumps({**GOOD, "rating": 5.01}), '"rating" is 5.01'),
        (json.dumps({**GOOD, "rating": "3"}), "\"rating\" is '3'"),
        (json.dumps(GOOD).replace("3}", "NaN}"), '"rating" is nan'),
        (json.dumps({**GOOD, "task": "x"}), "unknown task 'x'"),
        (json.dumps({**GOOD, "images": {"picture": "a.png"}}), "needs the image 'image'"),
        (json.dumps({**GOOD, "images": "a.png"}), "line 2"),
        (json.dumps({key: value for key, value in GOOD.items() if key != "split"}), "the field 'split' is missing"),
        (json.dumps({**GOOD, "files": {"image": {"sha256": "x"}}}), "sha256, width and height"),
        (json.dumps({**GOOD, "task": "comparison"}), '"winner" is None'),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(QInsightError) as caught:
        read_split(tmp_path, "train")
    assert str(caught.value).startswith(f"{tmp_path / 'train.jsonl'}, line 2: ")
    assert words in str(caught.value)


def test_a_byte_order_mark_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert [row.id for row in read_split(tmp_path, "train")] == ["a"]


def test_another_encoding_is_read_by_its_mark_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(json.dumps(GOOD).encode("utf-16"))
    assert [row.id for row in read_split(tmp_path, "train")] == ["a"]
    (tmp_path / "train.jsonl").write_bytes(json.dumps({**GOOD, "id": "é"}, ensure_ascii=False).encode("cp1252"))
    with pytest.raises(QInsightError, match=r"train\.jsonl is not text in UTF-8 \(byte 0xe9 in line 1\); save it"):
        read_split(tmp_path, "train")


def test_rows_of_some_tasks(tmp_path: Path) -> None:
    other = {**GOOD, "task": "degradation", "distortion": "blur", "severity": "slight"}
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(GOOD)}\n{json.dumps(other)}\n")
    assert [row.task for row in read_split(tmp_path, "train", ["degradation"])] == ["degradation"]
    assert read_split(tmp_path, "train")[0].answer().rating == 3.0


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match=r"has no train\.jsonl; make one with qinsight prepare"):
        read_split(tmp_path, "train")
    (tmp_path / "test.jsonl").write_text("")
    with pytest.raises(QInsightError, match=r"has no train\.jsonl; it has test"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"counts": {}}'])
def test_tasks_of_what_is_no_dataset(content: str, tmp_path: Path) -> None:
    assert tasks_of(tmp_path / "gone") == set()
    (tmp_path / "dataset.json").write_text(content)
    assert tasks_of(tmp_path) == set()


def test_an_empty_manifest_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    assert read_split(tmp_path, "train") == []


@pytest.mark.parametrize("text", ["[" * 100_000, "7", '{"counts": 7, "sha256": [], "name": {}}', "\xff", ""])
def test_a_card_that_somebody_edited(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes(text.encode("latin-1"))
    assert manifest.read_card(tmp_path) == {}
    assert tasks_of(tmp_path) == set()


SCALARS = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8)
ODD = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
WHOLE = {**GOOD, "files": {"image": {"sha256": "0", "width": 1, "height": 1}}, "reasoning": "dark", "content": "a"}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_rows_with_odd_values_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    row = {**WHOLE, data.draw(st.sampled_from([*WHOLE, "damage", "methods", "pseudo_mos", "label"])): data.draw(ODD)}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    samples, words = [], ""
    try:
        samples = read_split(folder, "train")
    except QInsightError as error:
        words = str(error)
    assert "\n" not in words
    assert len(words) < 1000
    assert all(1 <= sample.answer().rating <= 5 for sample in samples)
    write_dataset(folder, samples, {"name": "x"}, force=True)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_manifest_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    for content in (data, json.dumps(GOOD).encode() + b"\n" + data):
        (folder / "train.jsonl").write_bytes(content)
        (folder / "dataset.json").write_bytes(content)
        words = ""
        try:
            read_split(folder, "train")
            read_card(folder)
        except QInsightError as error:
            words = str(error)
        assert "\n" not in words
