"""A reward that stays 0 is said loudly, once for each doubling."""

from __future__ import annotations

import math

from qinsight_cli.core.training.grpo.unearned import UnearnedRewards


def test_a_reward_that_stays_zero_is_said_at_20_40_80_steps() -> None:
    unearned = UnearnedRewards(["r_fmt", "r_scr"], [])
    told = {step: unearned.note({"step": step, "r_fmt": 0.5, "r_scr": 0.0}) for step in range(1, 101)}
    assert [step for step, warnings in told.items() if warnings] == [20, 40, 80]
    assert "no completion has earned r_scr in 40 logged steps" in told[40][0]
    assert len(told[40]) == 1


def test_one_completion_that_earns_it_resets_the_count() -> None:
    unearned = UnearnedRewards(["r_scr"], [{"step": step, "r_scr": 0.0} for step in range(1, 20)])
    assert unearned.note({"step": 20, "r_scr": 0.01}) == []
    assert all(not unearned.note({"step": step, "r_scr": 0.0}) for step in range(21, 40))
    assert unearned.note({"step": 40, "r_scr": 0.0})


def test_steps_without_the_task_do_not_count_and_a_resumed_run_goes_on_counting() -> None:
    unearned = UnearnedRewards(["r_comp"], [{"step": step, "r_comp": 0.0} for step in range(1, 20)])
    assert unearned.note({"step": 20, "r_comp": None}) == []
    assert unearned.note({"step": 21, "r_comp": math.nan}) == []
    assert unearned.note({"step": 22, "eval": {"r_comp": 1.0}}) == []
    assert unearned.note({"step": 23, "r_comp": 0.0})
