"""Served models, asked on loopback: the answers of a local engine, and everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import chat_server
from pixel_engine import PixelEngine, rating_of
from qinsight_cli import QInsight
from qinsight_cli.core.engines import Decoding, Served, endpoint, replicas
from qinsight_cli.core.engines.endpoint import EndpointEngine, load_endpoint
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS

SCORE = TASKS["score"]
WRITTEN = Decoding()


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def grey(tmp_path: Path) -> list[dict[str, str]]:
    """Twelve grey pictures, darker to brighter."""
    for i in range(12):
        Image.new("RGB", (20 + i, 16), (20 * i,) * 3).save(tmp_path / f"{i:02}.png")
    return [{"image": str(tmp_path / f"{i:02}.png")} for i in range(12)]


def served(*urls: str, **more: Any) -> EndpointEngine:
    return load_endpoint("tiny", Served(urls, **{"timeout": 20.0, **more}))


def answers(engine: Any, items: list[dict[str, str]], batch_size: int = 4, **more: Any) -> list[Result]:
    return list(assess(SCORE, items, engine, more.pop("decoding", WRITTEN), batch_size=batch_size, **more))


def ratings(results: list[Result]) -> list[float | str | None]:
    return [each.answers[0].rating if each.error is None else each.error for each in results]


def expected(items: list[dict[str, str]]) -> list[float]:
    return [rating_of(Image.open(item["image"])) for item in items]


def test_a_served_model_writes_what_the_local_one_writes(
    engine: Any, photos: Callable[[str], NDArray[np.uint8]], tmp_path: Path
) -> None:
    items = []
    for i, name in enumerate(("chelsea", "coffee", "rocket", "astronaut")):
        Image.fromarray(photos(name)).save(tmp_path / f"{i}.jpg", quality=20 + 20 * i)
        items.append({"image": str(tmp_path / f"{i}.jpg")})
    decoding = Decoding(max_new_tokens=24)
    with chat_server.serving(engine) as (url, seen):
        remote = answers(served(url, concurrency=3), items, decoding=decoding)
    local = answers(engine, items, decoding=decoding)
    assert [each.completions for each in remote] == [each.completions for each in local]
    assert all(each.completions[0].completion_tokens > 0 for each in remote)
    assert len({each.completions[0].text for each in remote}) > 1
    body = seen.bodies[0]
    content = body["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url", "text"]
    assert content[1] == SCORE.messages(("image",))[1]["content"][1]
    assert {name: body[name] for name in ("temperature", "top_p", "max_tokens", "stop", "n", "model")} == {
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 24,
        "stop": ["</answer>"],
        "n": 1,
        "model": "tiny",
    }


def test_files_go_as_they_are(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    """The address holds the bytes of the file itself; with a limit of pixels, a PNG of the smaller picture."""
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=30)
    items = [{"image": str(tmp_path / "a.jpg")}]
    with chat_server.serving(PixelEngine()) as (url, seen):
        answers(served(url), items)
        answers(load_endpoint("tiny", Served((url,)), max_pixels=5000), items)
    plain, small = (next(iter(chat_server.addresses(body))) for body in seen.bodies)
    assert base64.b64decode(plain.removeprefix("data:image/jpeg;base64,")) == (tmp_path / "a.jpg").read_bytes()
    opened = Image.open(io.BytesIO(base64.b64decode(small.removeprefix("data:image/png;base64,"))))
    assert opened.width * opened.height <= 5000
    assert opened.width > 70


def test_many_at_a_time_and_never_more(grey: list[dict[str, str]]) -> None:
    with chat_server.serving(PixelEngine(), delay=0.1) as (url, seen):
        found = answers(served(url, concurrency=4), grey)
    assert ratings(found) == expected(grey)
    assert seen.most == 4
    assert set(seen.calls.values()) == {1}


FAILURES = {
    "429": chat_server.status(429, Retry_After="0.02"),
    "500": chat_server.status(500),
    "503": chat_server.status(503),
    "garbage": chat_server.garbage,
    "broken json": chat_server.broken_json,
    "empty answer": chat_server.empty,
    "no choices": chat_server.no_choices,
    "dropped connection": chat_server.drop,
    "half an answer": chat_server.half,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_tried_again(failure: Any, grey: list[dict[str, str]]) -> None:
    """The first two calls for each picture fail; every picture is answered in the end."""
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = served(url, concurrency=2)
        seen.fail = lambda number, body: failure if seen.calls[chat_server.addresses(body)[0]] <= 2 else None
        assert ratings(answers(engine, grey)) == expected(grey)
    assert set(seen.calls.values()) == {3}


WORDS = {
    "429": "error 429: busy$",
    "500": "error 500: busy$",
    "503": "error 503: busy$",
    "garbage": "its response is no chat completion$",
    "broken json": "its response cannot be read",
    "empty answer": "it gave an empty answer$",
    "no choices": "its response holds no completion$",
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_for_ever_is_a_row_with_an_error(
    name: str, grey: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture never gets an answer; the others do, and the journal keeps them."""
    failure = FAILURES[name]
    monkeypatch.setattr(replicas, "RETRIES", 1)
    data = Path(grey[5]["image"]).read_bytes()
    address = base64.b64encode(data).decode()
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = load_endpoint("tiny", Served((url,), concurrency=2, timeout=20.0))
        seen.fail = lambda number, body: failure if address in str(body) else None
        found = answers(engine, grey)
    values = ratings(found)
    assert values[:5] + values[6:] == [value for i, value in enumerate(expected(grey)) if i != 5]
    assert str(values[5]).startswith(f"unanswered: {replicas.ROUNDS} attempts failed, the last at {url}: ")
    assert re.search(WORDS.get(name, "no connection"), str(values[5]))
    assert "Error" not in str(values[5]), "a name of Python's"
    assert found[5].unanswered


def test_a_request_that_takes_too_long(grey: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "RETRIES", 0)
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = served(url, timeout=0.4)
        seen.fail = lambda number, body: chat_server.slow(1.5)
        (found,) = answers(engine, grey[:1])
    assert "no answer in time" in str(found.error)


def test_a_refused_request_is_not_repeated(grey: list[dict[str, str]]) -> None:
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = served(url)
        seen.fail = lambda number, body: chat_server.status(400, "the picture is too large")
        (found,) = answers(engine, grey[:1])
        assert seen.number == 1
    assert "the picture is too large" in str(found.error)


def test_a_dead_replica_is_set_aside_and_comes_back(
    grey: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server.serving(PixelEngine(), delay=0.02) as (one, first):
        with chat_server.serving(PixelEngine(), delay=0.02) as (two, second):
            engine = served(one, two, concurrency=4)
            assert ratings(answers(engine, grey)) == expected(grey)
            assert min(first.number, second.number) >= 4
        # The second is gone now.
        before = first.number
        assert ratings(answers(engine, grey)) == expected(grey)
        assert first.number - before == 12
        port = int(two.rpartition(":")[2].split("/")[0])
        with chat_server.serving(PixelEngine(), port=port, delay=0.02) as (_, again):
            time.sleep(0.3)
            assert ratings(answers(engine, grey)) == expected(grey)
            assert again.number > 0


def test_a_server_that_ends_halfway(
    grey: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows with errors; with the server back, only those are asked again."""
    monkeypatch.setattr(replicas, "RETRIES", 0)
    path = str(tmp_path / "journal")
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = served(url, concurrency=4)
        settings = settings_of(SCORE, engine.identity, WRITTEN, 0)
        with Journal(path, settings) as journal:
            results = assess(SCORE, grey, engine, WRITTEN, batch_size=4, journal=journal)
            found = [next(results) for _ in range(4)]
            seen.fail = lambda number, body: chat_server.drop
            found += list(results)
    answered = [each for each in found if each.error is None]
    assert 4 <= len(answered) < 12
    assert all(each.unanswered for each in found if each.error is not None)
    with chat_server.serving(PixelEngine()) as (url, seen), Journal(path, settings) as journal:
        again = answers(served(url), grey, journal=journal)
        assert seen.number == 12 - len(answered)
    assert ratings(again) == expected(grey)


def test_a_server_that_is_gone_ends_the_command(grey: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows of errors would help nobody."""
    monkeypatch.setattr(replicas, "RETRIES", 0)
    monkeypatch.setattr(endpoint, "HOPELESS", 9)
    with chat_server.serving(PixelEngine()) as (url, _):
        engine = served(url)
    with pytest.raises(
        QInsightError, match=r"the last 9 requests got no answer: .*no connection.*; once the server is"
    ):
        answers(engine, grey, batch_size=3)


def test_an_outage_is_told_once_and_so_is_its_end(grey: list[dict[str, str]]) -> None:
    lines: list[str] = []
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = load_endpoint("tiny", Served((url,), concurrency=2, timeout=20.0), say=lines.append)
        answers(engine, grey[:4])
        seen.fail = lambda number, body: chat_server.status(503)
        answers(engine, grey[4:8])
        assert lines == [f"{url} does not answer: error 503: busy; it is tried again, less often each time"]
        seen.fail = lambda number, body: None
        answers(engine, grey[8:])
        assert lines[1:] == [f"{url} answers again"]


@pytest.mark.parametrize(("status", "words"), [(402, "requires payment"), (404, "no longer has the model")])
def test_what_no_later_request_would_survive_ends_the_command(
    status: int, words: str, grey: list[dict[str, str]]
) -> None:
    with chat_server.serving(PixelEngine()) as (url, seen):
        engine = served(url)
        seen.fail = lambda number, body: chat_server.status(status, "sorry")
        whole = rf"{url} {words} \(error {status}: sorry\); fix that, then run the same command again"
        with pytest.raises(QInsightError, match=whole):
            answers(engine, grey)


def test_a_key_that_is_withdrawn_ends_the_command(grey: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    with chat_server.serving(PixelEngine(), key="s3cret") as (url, seen):
        engine = served(url, key_variable="MY_KEY")
        seen.fail = lambda number, body: chat_server.status(401, "s3cret is not valid any more")
        with pytest.raises(QInsightError, match=r"refuses the key .*\*\*\* is not valid any more"):
            answers(engine, grey)


@pytest.mark.parametrize("at_a_time", [100, 1])
def test_samples(at_a_time: int, grey: list[dict[str, str]]) -> None:
    """In one request, or one by one from a server that draws one at a time; drawn from the picture's own seed."""
    decoding = Decoding(samples=3, temperature=1.0)
    with chat_server.serving(PixelEngine(), samples=at_a_time) as (url, seen):
        found = answers(served(url), grey[4:8], decoding=decoding)
        again = answers(served(url), grey[4:8], decoding=decoding)
    assert [len(each.answers) for each in found] == [3] * 4
    assert [each.completions for each in found] == [each.completions for each in again]
    for item, each in zip(grey[4:8], found, strict=True):
        values = [answer.rating for answer in each.answers]
        assert len(set(values)) > 1
        assert all(abs(value - rating_of(Image.open(item["image"]))) <= 0.21 for value in values)
    assert {body["n"] for body in seen.bodies} == ({3} if at_a_time > 1 else {3, 1})


def test_the_authors_settings_are_passed(grey: list[dict[str, str]]) -> None:
    from qinsight_cli.core.engines import AUTHORS_DECODING

    with chat_server.serving(PixelEngine()) as (url, seen):
        answers(served(url), grey[:1], decoding=AUTHORS_DECODING, seed=5)
    body = seen.bodies[0]
    assert (body["temperature"], body["top_k"], body["top_p"], body["max_tokens"]) == (1.0, 50, 0.95, 1024)
    digest = hashlib.sha256(Path(grey[0]["image"]).read_bytes()).hexdigest()
    drawn = hashlib.sha256(f"5|image:{digest}".encode()).digest()
    assert body["seed"] == int.from_bytes(drawn[:7], "big") % 2**31


def test_within_a_running_event_loop(grey: list[dict[str, str]]) -> None:
    """As in a notebook: in the thread of the loop, and in another beside it."""

    async def loaded_and_asked(url: str) -> list[float | str | None]:
        return ratings(answers(served(url), grey))

    async def nobody_there() -> None:
        served("http://127.0.0.1:9/v1")

    with chat_server.serving(PixelEngine()) as (url, _):
        assert asyncio.run(loaded_and_asked(url)) == expected(grey)

        async def through_the_api() -> tuple[Any, Any]:
            model = QInsight("tiny", endpoint=url, cache=False)
            paths = [item["image"] for item in grey]
            return model.score(paths), await asyncio.to_thread(model.score, paths[3])

        several, one = asyncio.run(through_the_api())
    assert [answer.rating for answer in several] == expected(grey)
    assert one.rating == several[3].rating
    with pytest.raises(QInsightError, match="nothing answers at"):
        asyncio.run(nobody_there())
