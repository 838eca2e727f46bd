"""What commands make of the cache of answers, and qinsight cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.inference.cache_file import FILE


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixel_model: list[Any]) -> list[Any]:
    """A cache of its own, and a model whose weights are known: answers are kept. The engines made so far."""
    monkeypatch.delenv("QINSIGHT_NO_CACHE")
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    from qinsight_cli.core.engines import local

    make = local.load_engine

    def load_engine(model: str, *options: Any, **more: Any) -> Any:
        engine = make(model, *options, **more)
        engine.identity = {**engine.identity, "weights": "1234", "options": repr(options)}
        return engine

    monkeypatch.setattr(local, "load_engine", load_engine)
    return pixel_model


def asked(engine: Any) -> int:
    return sum(engine.batches)


def test_a_grown_moved_and_renamed_folder_asks_only_what_is_new(photos: list[str], run: Any, cached: list[Any]) -> None:
    run("score", "photos", "--csv", "first.csv")
    os.rename("photos", "moved")
    os.rename("moved/3.png", "moved/another name.png")
    Image.new("RGB", (31, 16), (77,) * 3).save("moved/8.png")
    done = run("score", "moved", "--csv", "with.csv")
    assert "7 known, 1 to ask" in done.err
    assert (asked(cached[0]), asked(cached[1])) == (7, 1)
    run("score", "moved", "--csv", "without.csv", "--no-cache")
    assert asked(cached[2]) == 8
    assert Path("with.csv").read_bytes() == Path("without.csv").read_bytes()


def test_an_edited_picture_and_a_changed_setting_are_asked_again(
    photos: list[str], run: Any, cached: list[Any]
) -> None:
    run("score", "photos", "--csv", "a.csv")
    Image.new("RGB", (22, 16), (250,) * 3).save(photos[2])
    assert "6 known, 1 to ask" in run("score", "photos", "--csv", "b.csv").err
    assert asked(cached[-1]) == 1
    Path("words.txt").write_text("How bright is it?")
    for changed in (
        ("--max-pixels", 5000),
        ("--rating", "answer"),
        ("--temperature", 0.5),
        ("--samples", 2),
        ("--mode", "direct"),
        ("--prompt", "words.txt"),
        ("--max-image-pixels", 100_000),
        ("--max-new-tokens", 9),
    ):
        done = run("score", "photos", "--csv", "c.csv", *changed)
        assert "known" not in done.err
        assert asked(cached[-1]) == 7
    run("degrade", "photos", "--csv", "d.csv")
    assert asked(cached[-1]) == 7
    run("score", "photos", "--csv", "e.csv", "--temperature", 0.5, "--seed", 1)
    assert asked(cached[-1]) == 7
    run("score", "photos", "--csv", "f.csv", "--seed", 1)
    assert asked(cached[-1]) == 0, "greedy decoding draws nothing"


def test_a_picture_over_the_limit_is_refused_whatever_was_answered_before(
    photos: list[str], run: Any, cached: list[Any]
) -> None:
    assert run("score", photos[1]).code == 0
    done = run("score", photos[1], "--max-image-pixels", 10)
    assert "1 too large: --max-image-pixels N reads pictures of up to N pixels" in done.err
    assert done.code == 3
    assert "too large" in done.out


def test_without_output_files_and_with_pairs_and_notes(photos: list[str], run: Any, cached: list[Any]) -> None:
    frames = [Image.new("RGB", (16, 16), (i,) * 3) for i in (0, 200)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    first = run("compare", photos[1], "moving.gif", "--both-orders", "--jsonl", "-")
    again = run("compare", photos[1], "moving.gif", "--both-orders", "--jsonl", "-")
    assert again.out == first.out
    assert "first of 2 frames" in again.err
    assert "2 known, 0 to ask" in again.err
    assert asked(cached[-1]) == 0


def test_no_cache_makes_no_file(photos: list[str], run: Any, cached: list[Any], tmp_path: Path) -> None:
    run("score", "photos", "--no-cache")
    assert not (tmp_path / "cache").exists()


def test_a_model_without_known_weights_is_not_cached(
    photos: list[str], run: Any, pixel_model: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QINSIGHT_NO_CACHE")
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        run("score", "photos")
        assert asked(pixel_model[-1]) == 7
    assert not (tmp_path / "cache").exists()


def test_a_broken_cache_is_one_line_and_the_rows_are_the_same(
    photos: list[str], run: Any, cached: list[Any], tmp_path: Path
) -> None:
    run("score", "photos", "--csv", "a.csv")
    whole = Path("a.csv").read_bytes()
    (tmp_path / "cache" / FILE).write_bytes(b"torn" * 4000)
    done = run("score", "photos", "--csv", "a.csv")
    assert done.code == 0
    assert done.err.count("was damaged") == 1
    assert Path("a.csv").read_bytes() == whole
    assert asked(cached[-1]) == 7
    assert "7 known, 0 to ask" in run("score", "photos", "--csv", "a.csv").err
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    done = run("score", "photos", "--csv", "a.csv")
    assert done.code == 0
    assert done.err.count("the answer cache cannot be used") == 1
    assert Path("a.csv").read_bytes() == whole


def test_what_the_command_shows(photos: list[str], run: Any, cached: list[Any], tmp_path: Path) -> None:
    assert "answers  0" in run("cache").out
    run("score", "photos")
    shown = run("cache")
    assert str(tmp_path / "cache" / FILE) in shown.out
    assert "answers  7, of 1 model and setting" in shown.out
    assert "of at most 200 MB" in shown.out
    assert "of at most 3 MB" in run("cache", "--max-size", 3).out
    assert "of at most 3 MB" in run("cache").out
    assert "answers  0" in run("cache", "--clear").out
    run("score", "photos")
    assert asked(cached[-1]) == 7
    assert run("cache", "--max-size", 0).code == 2
    (tmp_path / "cache" / FILE).write_bytes(b"torn" * 4000)
    done = run("cache")
    assert done.code == 1
    assert f"remove {tmp_path}" in done.err


def test_tiny_answers_the_same_with_the_cache(
    photos: list[str], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QINSIGHT_NO_CACHE")
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    options = ("--jsonl", "-", "--mode", "direct", "--batch-size", 1)
    first, again = run("score", *photos[:3], *options), run("score", *photos[:3], *options)
    assert "3 known, 0 to ask" in again.err
    assert again.out == first.out == run("score", *photos[:3], *options, "--no-cache").out
    assert "known" not in run("score", *photos[:3], *options, "--max-pixels", 50_000).err
