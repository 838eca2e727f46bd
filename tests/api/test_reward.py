"""TaskReward: the paper's rewards as a reward function of TRL."""

from __future__ import annotations

import pytest

from qinsight_cli import QInsightError, TaskReward


def completion(answer: str) -> str:
    return f"<think> Seen. </think><answer> {answer} </answer>"


def test_the_reward_of_equations_6_and_8() -> None:
    score = TaskReward("score")
    texts = [completion('{"rating": 3.3}'), completion('{"rating": 3.4}'), "nothing", completion('{"rating": 3.3}')]
    asked = {"prompts": ["p"] * 4, "completion_ids": [[1]] * 4, "trainer_state": None}
    assert score(completions=texts, rating=[3.0, 3.0, 3.0, None], **asked) == [2.0, 1.0, 0.0, None]
    assert score.__name__ == "qinsight_score"
    conversation = [[{"role": "assistant", "content": text}] for text in texts]
    assert score(completions=conversation, rating=[3.0] * 4) == [2.0, 1.0, 0.0, 2.0]
    assert TaskReward("score", epsilon=0.5)(completions=texts[:2], rating=[3.0, 3.0]) == [2.0, 2.0]
    damage = TaskReward("degradation")
    texts = [completion('{"distortion_class": "blur", "severity": "%s"}' % level) for level in ("slight", "serious")]  # noqa: UP031
    expected = [1.0 + 0.25 + 0.75, 1.0 + 0.25]  # r_fmt + 0.25 r_deg + 0.75 r_lev
    assert damage(completions=texts, distortion=["blur"] * 2, severity=["slight"] * 2) == pytest.approx(expected)
    assert TaskReward("comparison")(completions=[completion("Image A")], winner=["Image A"]) == [2.0]
    assert TaskReward("score", weights={"r_scr": 5.0})(completions=[completion('{"rating": 3}')], rating=[3]) == [6.0]


def test_mistakes_of_a_reward() -> None:
    with pytest.raises(QInsightError, match="no task 'sharpness'"):
        TaskReward("sharpness")
    with pytest.raises(QInsightError, match="no reward r_deg"):
        TaskReward("score", weights={"r_deg": 1.0})
    with pytest.raises(QInsightError, match="no column rating"):
        TaskReward("score")(completions=["x"], label=[1])
