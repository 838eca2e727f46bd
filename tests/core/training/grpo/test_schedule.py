"""Batch arithmetic, mixing and steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo import schedule
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.recipe import load_grpo

RECIPE = GrpoRecipe(total_batch=128, per_device_batch=8)


def rows(**counts: int) -> list[Sample]:
    truth = {"score": {"rating": 3.0}, "degradation": {"distortion": "null", "severity": "null"}}
    return [
        Sample(f"{task}{number}", task, "train", "koniq", {"image": Path("a.png")}, truth[task])
        for task, count in counts.items()
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("processes", "per_device", "accumulation"), [(1, 8, 16), (2, 8, 8), (8, 8, 2), (16, 8, 1), (8, 16, 1), (4, 4, 8)]
)
def test_the_total_batch_is_cut_exactly(processes: int, per_device: int, accumulation: int) -> None:
    batches = schedule.divide(replace(RECIPE, per_device_batch=per_device), processes)
    assert batches == schedule.UpdateBatch(per_device, accumulation, processes, 16)
    assert batches.per_device * batches.accumulation * batches.processes == 128


@pytest.mark.parametrize(
    ("recipe", "processes", "says"),
    [
        (RECIPE, 32, "not a multiple of 8 on each of 32 processes; try --per-device-batch 4"),
        (RECIPE, 3, "128 does not divide by 3"),
        (replace(RECIPE, per_device_batch=48), 1, "of 48 on each of 1 process; try --per-device-batch 32"),
        (replace(RECIPE, num_generations=7), 1, "groups of 7"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(recipe: GrpoRecipe, processes: int, says: str) -> None:
    with pytest.raises(QInsightError, match=says) as caught:
        schedule.divide(recipe, processes)
    assert "\n" not in str(caught.value)


def test_the_papers_run_in_steps() -> None:
    # 14,000 rows in 10 epochs of 16 prompts an update.
    chosen = schedule.make_schedule(load_grpo("paper"), rows(score=7000, degradation=7000), 16)
    assert chosen.steps == 8750
    assert chosen.batch == schedule.UpdateBatch(8, 1, 16, 16)
    assert chosen.counts() == {"degradation": 7000, "score": 7000}


def test_a_short_run_takes_no_more_rows_than_it_needs() -> None:
    samples = rows(score=500, degradation=500)
    chosen = schedule.make_schedule(replace(RECIPE, max_steps=3), samples, 1)
    assert (chosen.steps, len(chosen.rows)) == (3, 48)
    assert len({row.id for row in chosen.rows}) == 48
    assert chosen == schedule.make_schedule(replace(RECIPE, max_steps=3), samples, 1)
    assert chosen.rows != schedule.make_schedule(replace(RECIPE, max_steps=3, seed=1), samples, 1).rows
    assert len(schedule.make_schedule(replace(RECIPE, max_steps=4, num_iterations=2), samples, 1).rows) == 32


def test_a_mix_reweights_and_repeats_only_what_it_must() -> None:
    mixed = schedule.mixed(
        rows(score=10, degradation=90), replace(RECIPE, mix={"score": 1.0, "degradation/koniq": 1.0})
    )
    counts = Counter(row.id for row in mixed)
    assert Counter(row.task for row in mixed) == {"score": 50, "degradation": 50}
    assert {counts[f"score{number}"] for number in range(10)} == {5}
    assert max(count for name, count in counts.items() if name.startswith("degradation")) == 1


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (replace(RECIPE, tasks=("score", "comparison")), "no training rows for the task comparison"),
        (
            replace(RECIPE, mix={"score/spaq": 1.0}),
            "asks for score/spaq, and the data has no such rows; its score rows come from koniq",
        ),
        (replace(RECIPE, total_batch=4096), "200 training rows and an update takes 512 prompts"),
    ],
)
def test_data_that_does_not_do(recipe: GrpoRecipe, says: str) -> None:
    with pytest.raises(QInsightError, match=says):
        schedule.make_schedule(recipe, rows(score=100, degradation=100), 1)
