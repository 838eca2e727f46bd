"""Reward functions: Eq. 3-8 row by row in a mixed batch, parse failures counted, and the options beyond the paper."""

from __future__ import annotations

import inspect
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS, comparison, degradation, failure_kinds, score
from qinsight_cli.core.tasks.base import completion_of
from qinsight_cli.core.tasks.comparison import Comparison
from qinsight_cli.core.tasks.degradation import Degradation
from qinsight_cli.core.tasks.score import Score
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.grpo.rewards import (
    best_reward,
    overall,
    reward_functions,
    tasks_of,
    truth_text,
)

ALL = GrpoRecipe(tasks=("score", "degradation", "comparison"))


def said(answer: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion_of("I see.", answer)}]


# (task, truth, answer, rewards by hand)
ROWS: list[tuple[str, Any, str, dict[str, float]]] = [
    ("score", Score(3.0), '{"rating": 3.34}', {"r_fmt": 1, "r_scr": 1}),
    ("score", Score(3.0), '{"rating": 3.35}', {"r_fmt": 1, "r_scr": 0}),
    ("degradation", Degradation("blur", "serious"), '{"distortion_class": "blur", "severity": "serious"}', {}),
    ("degradation", Degradation("blur", "serious"), '{"distortion_class": "blur", "severity": "slight"}', {"r_lev": 0}),
    (
        "degradation",
        Degradation("blur", "serious"),
        '{"distortion_class": "noise", "severity": "serious"}',
        {"r_deg": 0, "r_lev": 0},
    ),
    ("comparison", Comparison("Image B"), "Image B", {"r_fmt": 1, "r_comp": 1}),
    ("comparison", Comparison("Image B"), "Similar", {"r_fmt": 1, "r_comp": 0}),
]


def batch() -> dict[str, list[Any]]:
    return {
        "completions": [said(answer) for _, _, answer, _ in ROWS],
        "task": [task for task, _, _, _ in ROWS],
        "truth": [truth_text(TASKS[task], truth) for task, truth, _, _ in ROWS],
        "id": [str(number) for number in range(len(ROWS))],
    }


def test_a_mixed_batch_earns_what_the_equations_say_and_none_elsewhere() -> None:
    functions, _ = reward_functions(ALL)
    given = {function.__name__: function(**batch()) for function in functions}
    assert set(given) == {"r_fmt", "r_scr", "r_deg", "r_lev", "r_comp"}
    for index, (task, _, _, by_hand) in enumerate(ROWS):
        for name, values in given.items():
            expected = by_hand.get(name, 1) if name in TASKS[task].weights else None
            assert values[index] == expected, (index, name)


def test_weights_are_those_of_eq_6_and_8() -> None:
    functions, weights = reward_functions(ALL)
    assert dict(zip((function.__name__ for function in functions), weights, strict=True)) == {
        "r_fmt": 1.0,
        "r_scr": 1.0,
        "r_deg": 0.25,
        "r_lev": 0.75,
        "r_comp": 1.0,
    }
    functions, weights = reward_functions(replace(ALL, tasks=("degradation",), weights={"r_lev": 2.0}))
    assert [function.__name__ for function in functions] == ["r_fmt", "r_deg", "r_lev"]
    assert weights == [1.0, 0.25, 2.0]


def test_overall_reward_is_the_weighted_sum() -> None:
    task = TASKS["degradation"]
    text = completion_of("I see.", '{"distortion_class": "blur", "severity": "slight"}')
    assert overall(task, {}, text, Degradation("blur", "serious")) == 1.25
    assert best_reward(task, {}) == 2.0
    assert best_reward(task, {"r_lev": 2.0}) == 3.25


def test_the_recipes_epsilon_reaches_eq_3() -> None:
    wide = tasks_of(replace(ALL, score_epsilon=0.5))["score"]
    assert wide.earned(completion_of("", '{"rating": 3.4}'), Score(3.0))["r_scr"] == 1.0
    assert TASKS["score"].earned(completion_of("", '{"rating": 3.4}'), Score(3.0))["r_scr"] == 0.0


def test_one_weight_for_a_shared_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(TASKS["score"], weights={"r_fmt": 0.5, "r_scr": 1.0})
    monkeypatch.setitem(TASKS, "score", other)
    with pytest.raises(QInsightError, match="weigh r_fmt differently"):
        reward_functions(ALL)
    assert reward_functions(replace(ALL, weights={"r_fmt": 1.0}))[1][0] == 1.0


def test_parse_failures_are_counted_by_kind() -> None:
    metrics: dict[str, list[float]] = {}
    extra: dict[str, list[Any]] = {}
    functions, _ = reward_functions(ALL)
    rows = batch()
    rows["completions"][0] = [{"content": "nothing at all"}]
    rows["completions"][5] = said("Image C")
    functions[0](
        **rows,
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
        log_extra=lambda name, values: extra.update({name: values}),
    )
    nonzero = {name: values[0] for name, values in metrics.items() if values[0]}
    assert nonzero == {"parse_failures/no_answer": 1 / 7, "parse_failures/unknown_winner": 1 / 7}
    assert len(metrics) == len(failure_kinds())  # a kind that did not occur counts as 0 in the mean over steps
    assert extra["task"] == rows["task"]


def test_a_completion_is_parsed_once_for_all_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    for name, task in list(TASKS.items()):
        spy = replace(task, parse=lambda text, parse=task.parse: parsed.append(text) or parse(text))  # type: ignore[misc]
        monkeypatch.setitem(TASKS, name, spy)
    functions, _ = reward_functions(replace(ALL, rank_weight=0.5))
    first, second = batch(), batch()
    second["completions"][0] = said('{"rating": 1.00}')
    given = [function(**first) for function in functions]
    assert len(functions) == 6
    assert len(parsed) == len(ROWS)
    again = [function(**second) for function in functions]
    assert len(parsed) == 2 * len(ROWS)  # another batch is read anew
    changed = [index for index, (one, other) in enumerate(zip(given, again, strict=True)) if one != other]
    assert [functions[index].__name__ for index in changed] == ["r_scr"]


def test_every_kind_of_failure_is_known() -> None:
    from qinsight_cli.core.tasks import base

    sources = "".join(inspect.getsource(module) for module in (base, score, degradation, comparison))
    assert set(re.findall(r'ParseFailure\(\s*"(\w+)"', sources)) == set(failure_kinds())


# Beyond the paper


def test_the_gaussian_score_reward() -> None:
    task = tasks_of(replace(ALL, score_reward="gaussian", score_epsilon=0.5))["score"]
    given = task.earned(completion_of("", '{"rating": 3.5}'), Score(3.0))
    assert given == {"r_fmt": 1.0, "r_scr": pytest.approx(math.exp(-0.5))}
    assert task.earned("nothing", Score(3.0)) == {"r_fmt": 0.0, "r_scr": 0.0}
    assert task.earned(completion_of("", '{"rating": 3.0}'), Score(3.0))["r_scr"] == 1.0


def test_the_rank_reward() -> None:
    functions, weights = reward_functions(replace(ALL, rank_weight=0.5))
    assert functions[-1].__name__ == "r_rank"
    assert weights[-1] == 0.5
    ratings = [(4.0, "a", 4.5), (4.2, "a", 4.5), (2.0, "b", 1.5), (4.9, "b", 1.5)]
    given = functions[-1](
        completions=[said(f'{{"rating": {rating}}}') for rating, _, _ in ratings]
        + [[{"content": "?"}], said("Similar")],
        task=["score"] * 5 + ["comparison"],
        truth=[json.dumps({"rating": truth}) for _, _, truth in ratings] + ['{"rating": 1.5}', '{"winner": "Similar"}'],
        id=[name for _, name, _ in ratings] + ["b", "c"],
    )

    # a lies above b in truth; its group has mean 4.1 and variance 0.01, b's mean 3.45 and variance 2.1025.
    def above(rating: float, mean: float) -> float:
        return 0.5 * (1 + math.erf((rating - mean) / math.sqrt(0.01 + 2.1025 + 1e-6) / math.sqrt(2)))

    expected = [above(4.0, 3.45), above(4.2, 3.45), 1 - above(2.0, 4.1), 1 - above(4.9, 4.1)]
    assert given[:4] == [pytest.approx(math.sqrt(value)) for value in expected]
    assert given[4:] == [0.0, None]


def test_a_rank_needs_two_pictures_and_ratings() -> None:
    functions, _ = reward_functions(replace(ALL, rank_weight=0.5))
    one = {"completions": [said('{"rating": 3}')], "task": ["score"], "truth": ['{"rating": 3}'], "id": ["a"]}
    assert functions[-1](**one) == [None]
    with pytest.raises(QInsightError, match="needs the score task"):
        reward_functions(GrpoRecipe(tasks=("degradation",), rank_weight=1.0))
