"""The choices of the tasks: texts, places, and what a distribution over them says."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from qinsight_cli.core.tasks import TASKS, Task, score
from qinsight_cli.core.tasks.base import completion_of
from qinsight_cli.core.tasks.comparison import Comparison
from qinsight_cli.core.tasks.degradation import Degradation


def probabilities(task: Task, shares: dict[Any, float]) -> list[float]:
    """Of the texts of the task, where each answer of `shares` lies on its first text."""
    left = dict(shares)
    return [left.pop(answer, 0.0) for answer in task.choices.answers.values()]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_choice_is_how_the_completion_without_reasoning_goes_on(task: Task) -> None:
    for text, answer in task.choices.answers.items():
        assert completion_of("", task.answer(answer)).startswith(task.choices.opening + text[:3].rstrip('}" \n'))
    assert not any(one.startswith(other) for one, other in permutations(task.choices.answers, 2))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_columns_are_in_every_summary_and_the_truth_can_be_read_from_it(task: Task) -> None:
    for answer in task.choices.answers.values():
        summary = task.choices.summary(probabilities(task, {answer: 0.8}))
        assert summary["mass"] == 0.8
        assert task.truth(summary) == answer
        assert set(summary) == {"mass", *task.columns, *task.choices.columns, *({"rating_std"} & set(summary))}


def test_a_whole_number_counts_as_its_rating() -> None:
    found = dict(zip(score.CHOICES.answers, [0.0] * len(score.CHOICES.answers), strict=True))
    found |= {"3}": 0.25, "4.0": 0.25}
    assert score.CHOICES.summary(list(found.values())) == {"mass": 0.5, "rating": 3.5, "rating_std": 0.5}


def test_the_severity_is_the_likeliest_of_the_likeliest_class() -> None:
    shares = {
        Degradation("noise", "slight"): 0.2,
        Degradation("noise", "serious"): 0.3,
        Degradation("blur", "obvious"): 0.4,
        Degradation("null", "null"): 0.1,
    }
    task = TASKS["degradation"]
    assert task.choices.summary(probabilities(task, shares)) == {
        "mass": 1.0,
        "distortion": "noise",
        "severity": "serious",
        "probability": 0.5,
        "severity_probability": 0.6,
    }


def test_the_winner_is_the_likeliest() -> None:
    shares = {Comparison("Image A"): 0.1, Comparison("Image B"): 0.3, Comparison("Similar"): 0.2}
    task = TASKS["comparison"]
    summary = task.choices.summary(probabilities(task, shares))
    assert summary == {"mass": 0.6, "winner": "Image B", "probability": 0.5}


def test_less_than_half_of_the_probability_says_nothing() -> None:
    task = TASKS["comparison"]
    assert task.choices.summary(probabilities(task, {Comparison("Image A"): 0.49})) == {"mass": 0.49}


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ('<think> x </think><answer> {"rating": 3.42} </answer>', "3.42"),
        ("<answer>{rating:4}</answer>", "4"),
        ('<answer> ```json\n{ "Rating" : "2.10" }\n``` </answer>', "2.10"),
        ('<think> my "rating": 1 </think><answer> {"rating": 5.0}', "5.0"),
        ("<answer> {'rating': -1} </answer>", "-1"),
    ],
)
def test_the_place_of_a_rating_is_where_its_number_begins(completion: str, number: str) -> None:
    place = score.place(completion)
    assert place is not None
    assert completion[place:].startswith(number)


@pytest.mark.parametrize(
    "completion", ["", '<answer> {"rating": null} </answer>', '"rating": 3', "<answer> 3.4 </answer>"]
)
def test_without_a_number_there_is_no_place(completion: str) -> None:
    assert score.place(completion) is None
