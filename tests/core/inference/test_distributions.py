"""Ratings read from the probabilities of answers, and answers without a written word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Completion, Decoding
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.inference.assess import Result, assess, settings_of
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS

SCORE = TASKS["score"]
GREEDY = Decoding()
EXPECTED, DIRECT = Decoding(rating="expected"), Decoding(mode="direct")


def scored(paths: Sequence[str], engine: Any, decoding: Decoding = GREEDY, **options: Any) -> list[Result]:
    return list(assess(SCORE, [{"image": path} for path in paths], engine, decoding, **options))


def test_an_expected_rating_keeps_the_written_answer_beside_it(photos: list[str]) -> None:
    class Doubtful(PixelEngine):
        """Writes its rating, and lays 3/4 of the probability on 2.0 and 1/4 on 4.0 of which a tenth is elsewhere."""

        def generate(self, batch: Any, decoding: Decoding) -> Any:
            weights = {"2.0": 0.675, "4.0": 0.225}
            answers = [tuple(weights.get(text, 0.0) for text in request.choices.answers) for request in batch]
            drawn = super().generate(batch, decoding)
            return [
                [replace(completion, probabilities=shares) for completion in row]
                for row, shares in zip(drawn, answers, strict=True)
            ]

    (result,) = scored(photos[10:], Doubtful(), EXPECTED)
    assert result.answers[0].rating == pytest.approx(2.5)
    assert result.answers[0].reasoning.startswith("Brightness")
    assert result.distributions[0] == pytest.approx(
        {"mass": 0.9, "rating": 2.5, "rating_std": (0.75 * 0.25 + 0.25 * 2.25) ** 0.5}, abs=1e-6
    )
    assert SCORE.parse(result.completions[0].text).rating == pytest.approx(1 + 4 * 205 / 255, abs=0.01)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("share", "read", "noted"), [(0.95, True, False), (0.7, True, True), (0.4, False, True), (None, False, False)]
)
def test_a_distribution_over_other_things_is_noted_and_then_refused(
    photos: list[str], share: float | None, read: bool, noted: bool
) -> None:
    class Vague(PixelEngine):
        def generate(self, batch: Any, decoding: Decoding) -> Any:
            texts = [self._answer(request, decoding)[0].text for request in batch]
            shares = None if share is None else tuple(share * (text == "3.0") for text in batch[0].choices.answers)
            return [[Completion(text, 10, 5, "stop", shares)] for text in texts]

    (result,) = scored(photos[:1], Vague(), EXPECTED)
    if read:
        assert result.answers[0].rating == 3.0
    else:
        percent = "0%" if share is None else f"{share:.0%}"
        assert str(result.answers[0]) == f"no_distribution: only {percent} of the probability is on answers of the task"
    assert bool(result.notes) is noted
    if share is not None and noted:
        assert result.notes == (f"{1 - share:.0%} of the probability is on texts that are no answer of the task",)


def test_an_answer_that_cannot_be_read_stays_one_whatever_its_distribution(photos: list[str]) -> None:
    class Wordless(PixelEngine):
        def generate(self, batch: Any, decoding: Decoding) -> Any:
            shares = tuple(float(text == "3.0") for text in batch[0].choices.answers)
            return [[Completion('<answer> {"rating": 3', 10, 5, "length", shares)] for _ in batch]

    (result,) = scored(photos[:1], Wordless(), EXPECTED)
    assert result.answers[0].kind == "truncated"


@pytest.mark.parametrize("decoding", [EXPECTED, DIRECT, Decoding(rating="expected", samples=3, temperature=1.0)])
def test_distributions_come_back_from_the_journal(photos: list[str], tmp_path: Path, decoding: Decoding) -> None:
    settings = settings_of(SCORE, PixelEngine().identity, decoding, 0)
    with Journal(str(tmp_path / "j"), settings) as journal:
        first = scored(photos[:5], PixelEngine(), decoding, journal=journal)
    engine = PixelEngine()
    with Journal(str(tmp_path / "j"), settings) as journal:
        assert scored(photos[:5], engine, decoding, journal=journal) == first
    assert engine.batches == []
    assert all(len(result.distributions) == decoding.samples for result in first)
    assert all("probabilities" not in line for line in (tmp_path / "j").read_text().splitlines())


def test_rating_and_mode_are_in_the_fingerprint() -> None:
    found = [settings_of(SCORE, PixelEngine().identity, decoding, 0) for decoding in (GREEDY, EXPECTED, DIRECT)]
    assert len({str(settings) for settings in found}) == 3


def test_an_engine_without_probabilities_is_refused_before_it_is_asked(photos: list[str]) -> None:
    engine = PixelEngine()
    engine.reads_choices = False
    for decoding in (EXPECTED, DIRECT):
        with pytest.raises(QInsightError, match="gives no probabilities: use --mode reasoned and --rating answer"):
            scored(photos, engine, decoding)
    assert engine.batches == []
    assert scored(photos[:1], engine, GREEDY)[0].error is None


def test_a_task_without_choices_cannot_be_asked_directly(photos: list[str]) -> None:
    (part, *_) = TASKS["degradation"].parts
    with pytest.raises(QInsightError, match="degradation-noise has only written answers"):
        list(assess(part, [{"image": photos[0]}], PixelEngine(), DIRECT))
