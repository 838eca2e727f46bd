"""From the fields of a response to completions and probabilities."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from qinsight_cli.core.engines import Completion
from qinsight_cli.core.engines.chat import UnusableResponse, completions_of, read_probabilities
from qinsight_cli.core.tasks import TASKS

CHOICES = TASKS["score"].choices
assert CHOICES is not None
HEAD = ("<think> Fine. </think>", "<answer> {", '"rating":')


def entry(token: str, probability: float, **others: float) -> Any:
    tops = {token: probability, **{name.strip("_"): value for name, value in others.items()}}
    return SimpleNamespace(
        token=token,
        logprob=math.log(probability),
        top_logprobs=[SimpleNamespace(token=name, logprob=math.log(value)) for name, value in tops.items()],
    )


def written(*number: Any) -> Any:
    content = [*(entry(token, 1.0) for token in HEAD), *number, entry("} </answer>", 1.0)]
    return SimpleNamespace(logprobs=SimpleNamespace(content=content))


def found(*number: Any) -> dict[str, float]:
    """The texts with some probability."""
    read = read_probabilities(written(*number), CHOICES)
    assert read is not None
    return {text: round(p, 6) for text, p in zip(CHOICES.answers, read, strict=True) if p > 0}


def test_digits_one_by_one() -> None:
    """3.7 and its neighbours on the written path are exact; the 4, not written, is shared by 4.0 to 4.9."""
    read = found(
        entry(" ", 1.0), entry("3", 0.75, _4=0.25), entry(".", 1.0), entry("7", 0.6, _6=0.3, _x=0.1), entry("2", 1.0)
    )
    assert read == {"3.7": 0.45, "3.6": 0.225, **{f"4.{tenth}": 0.025 for tenth in range(10)}}


def test_a_whole_number_in_one_token() -> None:
    """Tokens that hold a space, several digits, or the end of the answer."""
    assert found(entry(" 3.7", 0.5, **{" 3.6": 0.25, " 4.1": 0.125, "good": 0.125})) == {
        "3.7": 0.5,
        "3.6": 0.25,
        "4.1": 0.125,
    }
    read = found(entry(" 3", 0.5, **{" 4": 0.5}))
    assert read["3}"] == 0.5
    assert sum(p for text, p in read.items() if CHOICES.answers[text].rating == 4) == 0.5


def test_five_has_no_decimals_above() -> None:
    assert found(entry(" ", 1.0), entry("4", 0.5, _5=0.5), entry(".9", 1.0))["5.0"] == 0.5


def test_no_place_and_no_probabilities() -> None:
    assert read_probabilities(SimpleNamespace(logprobs=None), CHOICES) is None
    nothing = SimpleNamespace(logprobs=SimpleNamespace(content=[entry("I cannot see it.", 1.0)]))
    assert read_probabilities(nothing, CHOICES) is None


def response(*texts: str, reason: str = "stop", **more: Any) -> Any:
    choices = [SimpleNamespace(message=SimpleNamespace(content=text), finish_reason=reason, **more) for text in texts]
    return SimpleNamespace(choices=choices, usage=SimpleNamespace(prompt_tokens=50, completion_tokens=11))


def test_the_tag_at_which_a_server_stops() -> None:
    assert completions_of(response("<think> x </think><answer> 3"), None)[0].text.endswith("<answer> 3</answer>")
    assert completions_of(response("<answer> 3</answer> more"), None)[0].text == "<answer> 3</answer>"
    assert completions_of(response("<answer> 3", reason="length"), None) == [Completion("<answer> 3", 50, 11, "length")]
    assert completions_of(response("<answer> 3", stop_reason=None), None)[0].text == "<answer> 3"  # vLLM: end of text
    assert completions_of(response("no answer"), None)[0].text == "no answer"


def test_the_tokens_of_several_samples_add_up() -> None:
    assert [each.completion_tokens for each in completions_of(response("a", "b", "c"), None)] == [5, 3, 3]


@pytest.mark.parametrize("bad", ["text", None, {"choices": []}, response(), response("a", " "), SimpleNamespace()])
def test_what_is_no_completion(bad: Any) -> None:
    with pytest.raises(UnusableResponse):
        completions_of(bad, None)
