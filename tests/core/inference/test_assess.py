"""Questions in order, whatever breaks: pictures, batches, memory, the process itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixel_engine import PixelEngine, rating_of
from qinsight_cli.core.engines import Completion, Decoding
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS, ParseFailure

SCORE, COMPARISON = TASKS["score"], TASKS["comparison"]
GREEDY = Decoding()
DRAWN = Decoding(samples=4, temperature=1.0)


def scored(paths: Sequence[str], engine: Any, decoding: Decoding = GREEDY, **options: Any) -> list[Result]:
    return list(assess(SCORE, [{"image": path} for path in paths], engine, decoding, **options))


def ratings(results: Sequence[Result]) -> list[Any]:
    return [[answer.rating for answer in result.answers] or result.error for result in results]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 50])
def test_results_come_in_order_whatever_the_batch(photos: list[str], batch_size: int) -> None:
    results = scored(photos, PixelEngine(), batch_size=batch_size)
    assert [result.images["image"] for result in results] == photos
    assert ratings(results) == [[rating_of(Image.open(path))] for path in photos]


def test_the_engine_says_how_many_at_a_time(photos: list[str]) -> None:
    asked = []

    def at_a_time(pictures: int, decoding: Decoding) -> int:
        asked.append((pictures, decoding))
        return 4

    engine, usual = PixelEngine(), PixelEngine()
    engine.at_a_time = at_a_time
    scored(photos, engine)
    assert engine.batches == [4, 4, 3]
    pairs = [{"image_a": a, "image_b": b} for a, b in pairwise(photos)]
    list(assess(COMPARISON, pairs, engine, DRAWN))
    assert asked == [(1, GREEDY), (3, DRAWN)]
    scored(photos, usual)
    assert usual.batches == [8, 3]


def test_draws_do_not_depend_on_batch_or_order_but_on_the_seed(photos: list[str]) -> None:
    first = ratings(scored(photos, PixelEngine(), DRAWN, batch_size=4))
    again = ratings(scored(photos[::-1], PixelEngine(), DRAWN, batch_size=3))[::-1]
    other = ratings(scored(photos, PixelEngine(), DRAWN, seed=1))
    assert first == again
    assert first != other
    assert len(set(first[5])) > 1


def test_a_broken_picture_is_one_row_and_spoils_nothing(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    asked = [photos[0], str(tmp_path / "bad.jpg"), photos[1], str(tmp_path / "missing.jpg"), photos[2]]
    engine = PixelEngine()
    results = scored(asked, engine, batch_size=3)
    assert engine.batches == [3]
    assert [result.error is None for result in results] == [True, False, True, False, True]
    assert "not an image" in str(results[1].error)
    assert results[3].error == "no such file"


def test_a_long_row_of_broken_pictures_still_comes_out() -> None:
    results = scored([f"missing{i}.jpg" for i in range(600)], PixelEngine())
    assert {result.error for result in results} == {"no such file"}
    assert len(results) == 600


def test_the_same_picture_is_asked_once_under_any_name(photos: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(photos[1]).read_bytes())
    engine = PixelEngine()
    results = scored([photos[1], photos[2], photos[1], str(copy)], engine, batch_size=2)
    assert engine.batches == [2]
    assert len({str(result.answers) for result in (results[0], results[2], results[3])}) == 1


def test_a_picture_on_which_the_model_fails_is_found_alone(photos: list[str]) -> None:
    engine = PixelEngine(poison=12)  # photos[2] is 12 pixels wide
    results = scored([*photos, photos[2]], engine, batch_size=4)
    failed = [i for i, result in enumerate(results) if result.error]
    assert failed == [2, 11]
    assert results[2].error == "the model failed on it: RuntimeError: absurd image"
    assert engine.batches == [4, 1, 1, 1, 1, 4, 3]


def test_an_error_in_prepare_is_found_alone_too(photos: list[str]) -> None:
    class Picky(PixelEngine):
        def prepare(self, requests: Any) -> Any:
            if any(request.images[0].width == 12 for request in requests):
                raise ImageError("too narrow")
            return super().prepare(requests)

    results = scored(photos, Picky(), batch_size=4)
    assert [result.error for result in results] == [None, None, "too narrow", *[None] * 8]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_out_of_memory_halves_the_batch_and_goes_on(photos: list[str], error: Exception) -> None:
    class Tight(PixelEngine):
        """Has memory for three pictures at a time."""

        def generate(self, batch: Any, decoding: Decoding) -> Any:
            self.batches.append(len(batch))
            if len(batch) > 3:
                raise error
            return [self._answer(request, decoding) for request in batch]

    engine, told = Tight(), []
    results = scored(photos, engine, batch_size=8, say=told.append)
    assert ratings(results) == [[rating_of(Image.open(path))] for path in photos]
    assert engine.batches[:6] == [8, 4, 2, 2, 4, 2]
    assert told == [
        f"out of memory with {batch} images at a time: continuing with {half}" for batch, half in ((8, 4), (4, 2))
    ]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_a_picture_too_large_for_the_memory_is_a_row(photos: list[str], error: Exception) -> None:
    results = scored(photos[:4], PixelEngine(poison=12, error=error), batch_size=4)
    assert [result.error for result in results] == [
        *(None, None, "out of memory with this image alone; give a smaller --max-pixels", None)
    ]


def test_an_error_that_concerns_all_stops_the_command(photos: list[str]) -> None:
    with pytest.raises(QInsightError, match="server gone"):
        scored(photos, PixelEngine(poison=12, error=QInsightError("server gone")), batch_size=4)


def test_an_error_in_the_list_of_items_comes_through() -> None:
    def items() -> Any:
        yield {"image": "missing.jpg"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(assess(SCORE, items(), PixelEngine(), GREEDY))


def test_a_truncated_completion_names_the_option(photos: list[str]) -> None:
    class Chatty(PixelEngine):
        def generate(self, batch: Any, decoding: Decoding) -> list[list[Completion]]:
            return [[Completion("<think> and then, and then", 10, 7, "length")] for _ in batch]

    (result,) = scored(photos[:1], Chatty(), Decoding(max_new_tokens=7))
    assert result.answers == (ParseFailure("truncated", "no answer within 7 tokens; raise --max-new-tokens"),)


def test_comparisons_name_the_broken_picture(photos: list[str]) -> None:
    items = [
        {"image_a": photos[3], "image_b": photos[1]},
        {"image_a": photos[3], "image_b": "missing.jpg"},
        {"image_b": photos[3], "image_a": photos[1], "reference": photos[9]},
    ]
    results = list(assess(COMPARISON, items, PixelEngine(), GREEDY))
    assert [result.answers[0].winner if result.answers else result.error for result in results] == [
        *("Image A", "image_b: no such file", "Image B")
    ]


def test_roles_tell_questions_apart(photos: list[str]) -> None:
    items = [{"image_a": photos[i], "image_b": photos[j]} for i, j in ((1, 2), (2, 1), (1, 1))]
    results = list(assess(COMPARISON, items, PixelEngine(), GREEDY))
    assert [result.answers[0].winner for result in results] == ["Image B", "Image A", "Similar"]


def test_animations_are_noted(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 9), grey) for grey in (0, 99)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    (result,) = scored([str(tmp_path / "a.gif")], PixelEngine())
    assert result.notes == ("first of 2 frames",)


# Journal


def test_known_answers_are_not_asked_again(photos: list[str], tmp_path: Path) -> None:
    settings = settings_of(SCORE, PixelEngine().identity, DRAWN, 0)
    with Journal(str(tmp_path / "j"), settings) as journal:
        first = scored(photos[:6], PixelEngine(), DRAWN, journal=journal, batch_size=4)
    engine = PixelEngine()
    with Journal(str(tmp_path / "j"), settings) as journal:
        second = scored(photos, engine, DRAWN, journal=journal, batch_size=4)
    assert engine.batches == [4, 1]
    assert second[:6] == first
    assert ratings(second) == ratings(scored(photos, PixelEngine(), DRAWN))


def test_errors_are_tried_again(photos: list[str], tmp_path: Path) -> None:
    late = tmp_path / "late.png"
    with Journal(str(tmp_path / "j"), {}) as journal:
        results = scored([photos[0], str(late), photos[2]], PixelEngine(poison=12), journal=journal)
        assert [result.error is None for result in results] == [True, False, False]
        late.write_bytes(Path(photos[4]).read_bytes())
        results = scored([photos[0], str(late), photos[2]], PixelEngine(), journal=journal)
        assert [result.error for result in results] == [None] * 3


def test_the_fingerprint_covers_what_decides_a_result() -> None:
    plain = settings_of(SCORE, PixelEngine().identity, GREEDY, 0)
    others = [
        settings_of(TASKS["degradation"], PixelEngine().identity, GREEDY, 0),
        settings_of(SCORE, PixelEngine(name="other").identity, GREEDY, 0),
        settings_of(SCORE, PixelEngine().identity, DRAWN, 0),
        settings_of(SCORE, PixelEngine().identity, GREEDY, 1),
        settings_of(SCORE, PixelEngine().identity, GREEDY, 0, prompt="How good?"),
    ]
    assert all(other != plain for other in others)
    assert plain == settings_of(SCORE, PixelEngine().identity, GREEDY, 0)


# Ctrl-C
def test_the_first_interrupt_finishes_the_batch_the_second_does_not_wait(photos: list[str], tmp_path: Path) -> None:
    class Interrupted(PixelEngine):
        interrupts = 1

        def generate(self, batch: Any, decoding: Decoding) -> Any:
            if len(self.batches) == 1:
                for _ in range(self.interrupts):
                    os.kill(os.getpid(), signal.SIGINT)
            return super().generate(batch, decoding)

    before = signal.getsignal(signal.SIGINT)
    told: list[str] = []
    for interrupts, kept in ((1, 8), (2, 4)):
        Interrupted.interrupts = interrupts
        with Journal(str(tmp_path / f"j{interrupts}"), {}) as journal:
            with pytest.raises(KeyboardInterrupt):
                scored(photos, Interrupted(), journal=journal, batch_size=4, on_interrupt=lambda: told.append("x"))
            assert len(journal) == kept
        assert signal.getsignal(signal.SIGINT) is before
    assert told == ["x", "x"]
    assert not [thread for thread in threading.enumerate() if thread.name == "qinsight-images"]


def test_a_consumer_that_stops_early_leaves_no_thread(photos: list[str]) -> None:
    results = assess(SCORE, [{"image": path} for path in photos], PixelEngine(), GREEDY, batch_size=1)
    assert next(results).answers[0].rating == pytest.approx(1 + 4 * np.float64(5) / 255, abs=0.01)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "qinsight-images"]
