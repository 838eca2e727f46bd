"""Questions of the page: the same answers as from `assess`, heard while they are written, one at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import chat_server
from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Decoding, Served
from qinsight_cli.core.engines.endpoint import load_endpoint
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.page.asking import KEPT, Answered, Asker
from qinsight_cli.core.tasks import TASKS
from talking_engine import TalkingEngine

SCORE = TASKS["score"]
EXPECTED = Decoding(rating="expected")


@pytest.fixture
def grey(tmp_path: Path) -> str:
    """PixelEngine rates it 1 + 4 * 120 / 255 = 2.88."""
    Image.new("RGB", (24, 16), (120, 120, 120)).save(tmp_path / "grey.png")
    return str(tmp_path / "grey.png")


def answer(asker: Asker, picture: str, task: Any = SCORE) -> Answered:
    *_, last = asker.ask(task, {task.roles[0]: picture})
    assert isinstance(last, Answered)
    return last


def test_a_model_is_heard_and_answers_as_without_the_page(random_model: Path, grey: str) -> None:
    engine = load_engine(str(random_model), "cpu")
    decoding = Decoding(max_new_tokens=40)
    asker = Asker(lambda task: (engine, decoding))
    *heard, last = asker.ask(SCORE, {"image": grey})
    (result,) = assess(SCORE, [{"image": grey}], engine, decoding)
    whole = result.completions[0].text
    assert isinstance(last, Answered)
    assert last.card.error == str(result.answers[0])
    assert heard
    assert all(whole.startswith(text.rstrip("�")) for text in heard), "a character may be half written"
    assert engine.listener is None


def test_the_distribution_is_that_of_the_probabilities(grey: str) -> None:
    found = answer(Asker(lambda task: (PixelEngine(), EXPECTED)), grey)
    assert found.card.number == pytest.approx(2.88)
    shares = {rating: share for rating, share in found.shares.items() if share}
    assert shares == pytest.approx({2.8: 0.2, 2.9: 0.8})
    assert sum(rating * share for rating, share in found.shares.items()) == pytest.approx(found.card.number)


def test_samples_without_probabilities_are_counted(grey: str) -> None:
    drawn = Decoding(samples=40, temperature=1.0)
    found = answer(Asker(lambda task: (PixelEngine(), drawn)), grey)
    (result,) = assess(SCORE, [{"image": grey}], PixelEngine(), drawn)
    ratings = [round(each.rating, 1) for each in result.answers]
    assert found.shares == pytest.approx({rating: ratings.count(rating) / 40 for rating in set(ratings)})
    assert answer(Asker(lambda task: (PixelEngine(), Decoding())), grey).shares == {}


def test_words_read_off_probabilities_have_their_chance(grey: str) -> None:
    found = answer(
        Asker(lambda task: (PixelEngine(), Decoding(mode="direct"))),
        grey,
        TASKS["degradation"],
    )
    assert found.card.said == "none"
    assert found.chances == {"probability": 1.0, "severity_probability": 1.0}
    assert found.shares == {}


def test_the_same_picture_is_asked_about_once(grey: str) -> None:
    engine = PixelEngine()
    asker = Asker(lambda task: (engine, EXPECTED))
    first = answer(asker, grey)
    assert answer(asker, grey) is first
    assert engine.batches == [1]
    for number in range(KEPT + 1):
        asker._keep((number,), first)
    assert len(asker._known) == KEPT


def test_a_picture_that_cannot_be_used_is_an_answer_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    engine = PixelEngine()
    found = answer(Asker(lambda task: (engine, EXPECTED)), str(tmp_path / "broken.png"))
    assert found.broken
    assert "not an image of a known kind" in found.card.error
    assert engine.batches == []
    Image.new("RGB", (30, 30)).save(tmp_path / "large.png")
    limited = Asker(lambda task: (engine, EXPECTED), max_image_pixels=899)
    assert "30 x 30 is more than 899 pixels" in answer(limited, str(tmp_path / "large.png")).card.error


def test_a_failing_model_is_tried_again(grey: str) -> None:
    engine = PixelEngine(poison=24)
    asker = Asker(lambda task: (engine, EXPECTED))
    assert "absurd image" in answer(asker, grey).card.error
    engine.poison = -1
    assert answer(asker, grey).card.number == pytest.approx(2.88)


def test_a_model_that_cannot_be_loaded_is_one_line(grey: str) -> None:
    def refuse(task: Any) -> Any:
        raise QInsightError("no such model")

    asker = Asker(refuse)
    with pytest.raises(QInsightError, match="no such model"):
        answer(asker, grey)


def begun(grey: str) -> tuple[TalkingEngine, Asker, Any]:
    """A question whose answer has begun and does not end."""
    engine = TalkingEngine()
    asker = Asker(lambda task: (engine, EXPECTED))
    engine.endless.set()
    asked = asker.ask(SCORE, {"image": grey})
    while next(asked) == "":
        pass
    return engine, asker, asked


def test_who_gives_up_stops_the_model_and_the_next_is_answered(grey: str) -> None:
    engine, asker, asked = begun(grey)
    assert engine.writing.wait(10)
    asked.close()
    other = asker.ask(TASKS["degradation"], {"image": grey})  # waits for its turn
    assert next(other) == ""
    engine.endless.clear()
    *_, last = other
    assert last.card.said == "none"
    assert answer(asker, grey).card.number == pytest.approx(2.88), "the answer given up is not kept"


def test_closing_stops_the_model(grey: str) -> None:
    engine, asker, asked = begun(grey)
    asker.close()
    assert not engine.writing.is_set()
    with pytest.raises(InterruptedError):
        for _ in asked:
            pass


@pytest.mark.parametrize("how", ["close", "give up"])
def test_a_server_that_does_not_answer_is_not_waited_for(grey: str, how: str) -> None:
    """It holds the answer back until the test is over."""
    asked, over = threading.Event(), threading.Event()

    def hold(handler: chat_server.Handler) -> None:
        asked.set()
        over.wait(30)
        chat_server.drop(handler)

    with chat_server.serving(PixelEngine(), fail=lambda number, body: hold) as (url, seen):
        engine = load_endpoint("tiny", Served((url,)))
        asker = Asker(lambda task: (engine, Decoding()))
        question = asker.ask(SCORE, {"image": grey})
        while not asked.is_set():
            assert next(question) == ""
        if how == "close":
            asker.close()
            assert seen.number == 1
            with pytest.raises(InterruptedError):
                list(question)
        else:
            question.close()
            seen.fail = lambda number, body: None
            assert answer(asker, grey).card.number == pytest.approx(2.88)
        over.set()
