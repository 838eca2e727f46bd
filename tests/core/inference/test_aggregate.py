"""Several samples to one answer, against the statistics computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from qinsight_cli.core.inference.aggregate import aggregate_answers
from qinsight_cli.core.tasks import TASKS, ParseFailure
from qinsight_cli.core.tasks.comparison import Comparison
from qinsight_cli.core.tasks.degradation import Degradation
from qinsight_cli.core.tasks.score import Score

FAILED = ParseFailure("no_answer", "nothing there")


def test_scores_give_mean_and_sample_deviation_of_those_read() -> None:
    aggregated = aggregate_answers(TASKS["score"], [Score(3.0, "a"), FAILED, Score(4.0, "b"), Score(4.5, "c")])
    assert aggregated.fields["rating"] == pytest.approx(np.mean([3.0, 4.0, 4.5]))
    assert aggregated.std == pytest.approx(np.std([3.0, 4.0, 4.5], ddof=1))
    assert (aggregated.parsed, aggregated.reasoning, aggregated.error) == (3, "b", None)


def test_one_score_has_no_deviation() -> None:
    aggregated = aggregate_answers(TASKS["score"], [FAILED, Score(2.5, "x")])
    assert (aggregated.fields, aggregated.std, aggregated.parsed) == ({"rating": 2.5}, None, 1)


def test_words_go_by_majority_and_a_tie_to_the_first_seen() -> None:
    noise, blur = Degradation("noise", "slight", "n"), Degradation("blur", "slight", "b")
    severe = Degradation("noise", "serious", "s")
    assert aggregate_answers(TASKS["degradation"], [noise, blur, severe, blur]).fields == TASKS["degradation"].fields(
        blur
    )
    assert aggregate_answers(TASKS["degradation"], [noise, blur]).reasoning == "n"
    aggregated = aggregate_answers(
        TASKS["comparison"], [Comparison("Similar", "x"), Comparison("Image B", "y"), Comparison("Image B")]
    )
    assert (aggregated.fields, aggregated.reasoning, aggregated.parsed) == ({"winner": "Image B"}, "y", 3)


def test_the_class_stays_when_the_severity_cannot_be_read() -> None:
    failure = ParseFailure("unknown_severity", "the severity is 'mild'", Degradation("noise", "", "Grain."))
    aggregated = aggregate_answers(TASKS["degradation"], [failure])
    assert aggregated.fields == {"distortion": "noise", "severity": None}
    assert (aggregated.reasoning, aggregated.parsed) == ("Grain.", 0)
    assert aggregated.error == "unknown_severity: the severity is 'mild'"
    whole = Degradation("blur", "slight", "Soft.")
    assert aggregate_answers(TASKS["degradation"], [failure, whole]).fields["distortion"] == "blur"


def test_an_out_of_range_rating_is_not_shown() -> None:
    failure = ParseFailure("out_of_range", "the rating 5.2 is not between 1 and 5", Score(5.2))
    assert aggregate_answers(TASKS["score"], [failure]).fields == {}


def test_when_none_can_be_read_the_first_says_why() -> None:
    aggregated = aggregate_answers(TASKS["score"], [FAILED, ParseFailure("out_of_range", "9")])
    assert aggregated.error == "no_answer: nothing there"
    assert (aggregated.fields, aggregated.parsed) == ({}, 0)


def test_expected_ratings_have_the_spread_of_their_mixture() -> None:
    """Against the variance of draws from the mixture, counted one by one."""
    distributions = ({1.0: 0.5, 2.0: 0.5}, {3.0: 0.25, 4.0: 0.75})
    summaries = []
    for shares in distributions:
        mean = sum(value * share for value, share in shares.items())
        std = sum((value - mean) ** 2 * share for value, share in shares.items()) ** 0.5
        summaries.append({"mass": 1.0, "rating": mean, "rating_std": std})
    drawn = [value for shares in distributions for value, share in shares.items() for _ in range(int(share * 100))]
    read = [Score(summary["rating"], "so") for summary in summaries]
    unread = ParseFailure("no_answer", "nothing")
    found = aggregate_answers(TASKS["score"], [read[0], unread, read[1]], [summaries[0], None, summaries[1]])
    assert found.fields["rating"] == pytest.approx(np.mean(drawn))
    assert found.std == pytest.approx(np.std(drawn))
    assert found.parsed == 2
    one = aggregate_answers(TASKS["score"], read[:1], summaries[:1])
    assert (one.fields["rating"], one.std) == (1.5, 0.5)
