"""Models as systems: labels, one question per distortion through assess, and resuming from the journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixel_engine import PixelEngine
from qinsight_cli.core.bench import datasets
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.bench.systems.model import ModelSystem, parse_label
from qinsight_cli.core.engines import Completion, Decoding, Engine, ModelOptions, Request
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.degradation import DISTORTIONS


class DarkEngine(Engine):
    """Asked about darkening it says how dark a picture is, asked about noise it always sees a little."""

    def __init__(self) -> None:
        self.identity = {"model": "dark"}
        self.asked: Counter[str] = Counter()

    def prepare(self, requests: list[Request]) -> list[Request]:
        return list(requests)

    def generate(self, batch: list[Request], decoding: Decoding) -> list[list[Completion]]:
        return [[Completion(self._answer(request), 1, 1, "stop")] for request in batch]

    def _answer(self, request: Request) -> str:
        words = request.messages[1]["content"][1]["text"]
        distortion = next(name for name in DISTORTIONS if f'"{name}"' in words)
        self.asked[distortion] += 1
        dark = np.asarray(request.images[0]).mean() < 60
        severity = {"noise": "slight", "darken": "serious" if dark else "null"}.get(distortion, "null")
        return f'<think> It is seen. </think><answer> {{"severity": "{severity}"}} </answer>'


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> DarkEngine:
    made = DarkEngine()
    monkeypatch.setattr("qinsight_cli.core.engines.local.load_engine", lambda *_: made)
    return made


def test_four_questions_a_picture_and_the_most_severe_answer(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, engine: DarkEngine
) -> None:
    dataset = datasets.load_dataset(make.degradations(tmp_path / "kadis"), "degradation", "test", None, 0)
    assert dataset is not None
    one_by_one = replace(answer_settings, sequential=True)
    model = ModelSystem("m", "tiny", ModelOptions("cpu"))
    said = model.answers(dataset, one_by_one)
    assert engine.asked == dict.fromkeys(DISTORTIONS, 15)
    for sample, answer in zip(dataset.samples, said, strict=True):
        dark = sample.truth["distortion"] == "darken"
        expected = ("darken", "serious") if dark else ("noise", "slight")
        assert tuple(answer.fields.values()) == expected
    model.close()
    assert ModelSystem("m", "tiny", ModelOptions("cpu")).answers(dataset, one_by_one) == said
    assert sum(engine.asked.values()) == 60  # the second time all came from the journals


def test_an_answer_that_cannot_be_read_fails_its_picture_alone(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, engine: DarkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = datasets.load_dataset(make.degradations(tmp_path / "kadis", each=1), "degradation", "test", None, 0)
    assert dataset is not None
    real = engine._answer
    monkeypatch.setattr(engine, "_answer", lambda r: "?" if np.asarray(r.images[0]).mean() < 60 else real(r))
    said = ModelSystem("m", "tiny", ModelOptions("cpu")).answers(dataset, replace(answer_settings, sequential=True))
    assert [answer.error is not None for answer in said] == [
        sample.truth["distortion"] == "darken" for sample in dataset.samples
    ]


def test_a_journal_of_another_engine_is_refused(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, engine: DarkEngine
) -> None:
    dataset = datasets.load_dataset(make.degradations(tmp_path / "kadis", each=1), "degradation", "test", None, 0)
    assert dataset is not None
    ModelSystem("m", "tiny", ModelOptions("cpu")).answers(dataset, replace(answer_settings, sequential=True))
    engine.identity = {"model": "another"}
    with pytest.raises(QInsightError, match=r"model\.model dark -> another"):
        ModelSystem("m", "tiny", ModelOptions("cpu")).answers(dataset, replace(answer_settings, sequential=True))


def test_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/a=b").mkdir(parents=True)
    assert parse_label("tiny") == ("tiny", "tiny")
    assert parse_label("Q-Insight=q-insight:comparison") == ("Q-Insight", "q-insight:comparison")
    assert parse_label("ε = 0.15=runs/e/final") == ("ε = 0.15", "runs/e/final")
    assert parse_label("mine=runs/a=b") == ("mine", "runs/a=b")  # a folder that is there
    assert parse_label("runs/a=b") == ("a=b", "runs/a=b")
    assert parse_label("deqa:owner/name") == ("deqa:owner/name", "deqa:owner/name")


def test_a_release_with_weights_for_each_kind_of_task_is_asked_with_the_right_ones(
    make: Any,
    tmp_path: Path,
    answer_settings: AnswerSettings,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "qinsight_cli.core.bench.systems.model.load", lambda name, *_: PixelEngine(name=f"weights of {name}")
    )
    system = ModelSystem("Q-Insight", "q-insight", ModelOptions("cpu"))
    pairs = datasets.load_dataset(make.comparisons(tmp_path / "srbench"), "comparison", "test", 5, 0)
    rated = datasets.load_dataset(make.scores(tmp_path / "koniq", "koniq"), "score", "test", 5, 0)
    assert pairs is not None
    assert rated is not None
    for dataset in (pairs, rated):
        assert len(system.answers(dataset, answer_settings)) == len(dataset.samples)
    assert told == ["model: Q-Insight (q-insight:comparison)", "model: Q-Insight (q-insight:score_degradation)"]
    assert {name: found["model"] for name, found in system.facts()["weights"].items()} == {
        name: f"weights of {name}" for name in ("q-insight:comparison", "q-insight:score_degradation")
    }


def test_the_words_of_the_authors_code_reach_the_model(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Listening(PixelEngine):
        def prepare(self, requests: Any) -> Any:
            asked.append(requests[0].messages[0]["content"][0]["text"])
            return super().prepare(requests)

    monkeypatch.setattr("qinsight_cli.core.bench.systems.model.load", lambda *_: Listening())
    rated = datasets.load_dataset(make.scores(tmp_path / "koniq", "koniq"), "score", "test", None, 0)
    assert rated is not None
    ModelSystem("m", "tiny", ModelOptions("cpu")).answers(rated, replace(answer_settings, style="authors"))
    assert {words[-9:] for words in asked} == {"</answer>"}
