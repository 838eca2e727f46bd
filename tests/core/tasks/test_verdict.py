"""The line that a table leads with: it says what is wrong, however the reasoning begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.data.reasoning import Measures, damage_sentence, describe_image
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES
from qinsight_cli.core.tasks.verdict import (
    LONGEST,
    QUALITY,
    named_damage,
    quality_word,
    rating_verdict,
    telling_sentences,
)

BALANCED = "The picture has balanced light, medium contrast."


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_damage_leads_and_not_the_light(distortion: str, severity: str) -> None:
    reasoning = describe_image(Measures(100, 50, 30, 0.3), (distortion, severity))
    assert not reasoning.startswith("There is")  # the light comes first in the reasoning
    noun = "darkening" if distortion == "darken" else distortion
    assert rating_verdict(1.2, reasoning) == f"{severity} {noun}, bad quality"
    assert telling_sentences(reasoning) == damage_sentence(distortion, severity)


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("There is slight noise. There is serious blur.", ["serious blur", "slight noise"]),
        ("Slight blur here, catastrophic blur there.", ["catastrophic blur"]),
        ("There is no serious noise.", []),
        ("The photo isn't hurt by obvious blur.", []),
        ("It is free of slight noise. Moderate compression shows.", ["moderate compression"]),
        ("slight noise, obvious blur, moderate compression", ["obvious blur", "moderate compression"]),
    ],
)
def test_damage_that_is_affirmed(reasoning: str, expected: list[str]) -> None:
    assert named_damage(reasoning) == expected


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        (BALANCED, "good quality: The picture has balanced light, medium contrast."),
        (f"{BALANCED} There is no added damage.", "good quality: There is no added damage."),
        ("The cat sits. The quality is high. Overall it is sharp.", "good quality: Overall it is sharp."),
        ("The light is even. The fur is grainy.", "good quality: The fur is grainy."),
        ("", "good quality"),
    ],
)
def test_without_named_damage(reasoning: str, expected: str) -> None:
    assert rating_verdict(4.1, reasoning) == expected


def test_words_are_those_of_the_nearest_point_of_the_scale() -> None:
    for hundredths in range(100, 501):
        rating = hundredths / 100
        nearest = [i for i in range(1, 6) if abs(rating - i) == min(abs(rating - j) for j in range(1, 6))]
        assert quality_word(rating) == QUALITY[nearest[-1] - 1]


def test_the_other_tasks() -> None:
    degradation, comparison = TASKS["degradation"], TASKS["comparison"]
    blurred = {"distortion": "blur", "severity": "serious"}
    assert degradation.verdict(blurred, "") == "serious blur"
    assert degradation.verdict({"distortion": "null", "severity": "null"}, "") == "no distortion"
    assert degradation.verdict(blurred, f"{BALANCED} The edges are blurred.") == "The edges are blurred."
    both = "Image A has balanced light. Image A has no damage. Image B has slight noise. Image B has serious blur."
    assert comparison.verdict({"winner": "Image A"}, both) == "Image B has slight noise. Image B has serious blur."


def test_the_worst_has_the_highest_badness() -> None:
    score, degradation = TASKS["score"].badness, TASKS["degradation"].badness
    assert score is not None
    assert degradation is not None
    assert score({"rating": 1.5}) > score({"rating": 4.5})
    order = [degradation({"distortion": "noise", "severity": level}) for level in SEVERITIES]
    assert order == sorted(order)
    assert degradation({"distortion": "null", "severity": "null"}) < order[0]
    assert degradation({"distortion": "none", "severity": "none"}) < order[0]
    assert TASKS["comparison"].badness is None


@given(st.text(), st.floats(1, 5))
def test_any_text_gives_one_line_of_bounded_length(text: str, rating: float) -> None:
    verdict = rating_verdict(rating, text)
    assert "\n" not in verdict
    assert len(verdict) <= LONGEST + 25
