"""Table 5's protocol: the real counts of SRIQA-Bench, and predictors worked by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qinsight_cli.core.bench.protocols import comparison
from qinsight_cli.core.bench.systems.base import RowAnswer
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.readers import srbench

OTHER = {"Image A": "Image B", "Image B": "Image A"}


def sample(content: str, methods: tuple[str, str], mos: tuple[float, float]) -> Sample:
    winner = "Image A" if mos[0] > mos[1] else "Image B" if mos[1] > mos[0] else "Similar"
    extra = {"content": content, "methods": list(methods)}
    images = {"image_a": Path("a"), "image_b": Path("b")}
    return Sample("", "comparison", "test", "srbench", images, {"winner": winner}, raw_label=list(mos), extra=extra)


def answers(samples: list[Sample], rule: Any) -> list[RowAnswer]:
    return [RowAnswer({"winner": rule(sample)}) for sample in samples]


def perfect(sample: Sample) -> str:
    return sample.truth["winner"]


def reversed_(sample: Sample) -> str:
    return OTHER[sample.truth["winner"]]


@pytest.fixture(scope="module")
def bench(data_dir: Path) -> list[Sample]:
    """SRIQA-Bench's real labels as rows; their pictures are not needed."""
    labelled = srbench.read(data_dir / "labels" / "visualquality-r1" / "SRIQA-Bench_test_all.txt")
    return [
        Sample(
            label.id,
            "comparison",
            "test",
            "srbench",
            {role: Path(name) for role, name in label.images.items()},
            dict(label.truth or {}),
            raw_label=label.raw,
            extra={"content": label.content, **label.extra},
        )
        for label in labelled.labels
    ]


def test_the_real_labels_give_300_3600_and_5500_pairs_and_no_tie(bench: list[Sample]) -> None:
    found = comparison.cells(comparison.pair_up(bench, answers(bench, perfect)))
    assert [found[column].count for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == [300, 3600, 5500]
    assert len({sample.extra["content"] for sample in bench}) == 100
    assert all(sample.truth["winner"] != "Similar" for sample in bench)


def test_without_the_original_100_2800_and_4500_pairs_are_left(bench: list[Sample]) -> None:
    found = comparison.cells(comparison.pair_up(bench, answers(bench, perfect), original=False))
    assert [found[column].count for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == [100, 2800, 4500]


def test_a_perfect_predictor_on_the_real_labels(bench: list[Sample]) -> None:
    found = comparison.cells(comparison.pair_up(bench, answers(bench, perfect)))
    assert [found[column].value for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == [100.0, 100.0, 100.0]
    assert found["SRCC"].value == pytest.approx(1.0)
    # Wins are evenly spaced and MOS are not, so that PLCC stays below 1: by scipy, content by content.
    by_content: dict[str, dict[str, float]] = {}
    for one in bench:
        for method, mos in zip(one.extra["methods"], one.raw_label, strict=True):
            by_content.setdefault(one.extra["content"], {})[method] = mos
    expected = [
        stats.pearsonr(stats.rankdata(list(mos.values())), list(mos.values())).statistic for mos in by_content.values()
    ]
    assert found["PLCC"].value == pytest.approx(float(np.mean(expected)))


def test_a_reversed_predictor_on_the_real_labels(bench: list[Sample]) -> None:
    found = comparison.cells(comparison.pair_up(bench, answers(bench, reversed_)))
    assert [found[column].value for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == [0.0, 0.0, 0.0]
    assert found["SRCC"].value == pytest.approx(-1.0)


def test_a_predictor_of_ties_earns_nothing_or_half(bench: list[Sample]) -> None:
    compared = comparison.pair_up(bench, answers(bench, lambda _: "Similar"))
    assert comparison.cells(compared, "wrong")["Overall-Acc"].value == 0.0
    half = comparison.cells(compared, "half")
    assert half["Overall-Acc"].value == 50.0
    assert half["PLCC"].value is None
    assert "all predictions are 0.5" in half["PLCC"].note


def test_a_random_predictor_is_right_half_the_time(bench: list[Sample]) -> None:
    rng = np.random.default_rng(0)
    found = comparison.cells(
        comparison.pair_up(bench, answers(bench, lambda _: f"Image {rng.choice(['A', 'B'])}")), draws=200
    )
    overall = found["Overall-Acc"]
    assert overall.value == pytest.approx(50.0, abs=3 * 100 * math.sqrt(0.25 / 5500))
    assert overall.low is not None
    assert overall.high is not None
    assert overall.low < 50.0 < overall.high
    assert found["SRCC"].value == pytest.approx(0.0, abs=0.1)


def test_position_bias_is_seen(bench: list[Sample]) -> None:
    # The order of A and B is drawn, so that always saying A is no better than chance.
    found = comparison.cells(comparison.pair_up(bench, answers(bench, lambda _: "Image A")))
    assert found["Overall-Acc"].value == pytest.approx(50.0, abs=3.0)


def three(said: dict[tuple[str, str], str | None]) -> list[comparison.Pair]:
    """One content: SwinIR 10, RealESRNet 20, Original 60."""
    mos = {"SwinIR": 10.0, "RealESRNet": 20.0, "Original": 60.0}
    rows = [sample("c", names, (mos[names[0]], mos[names[1]])) for names in said]
    return comparison.pair_up(
        rows, [RowAnswer(error="x") if answer is None else RowAnswer({"winner": answer}) for answer in said.values()]
    )


def test_wins_with_a_tie_by_hand() -> None:
    compared = three(
        {
            ("SwinIR", "RealESRNet"): "Similar",
            ("Original", "SwinIR"): "Image A",
            ("RealESRNet", "Original"): "Image B",
        }
    )
    methods, won, mos = comparison.wins(compared)["c"]
    assert methods == ["Original", "RealESRNet", "SwinIR"]
    assert won.tolist() == [1.0, 0.25, 0.25]
    assert mos.tolist() == [60.0, 20.0, 10.0]
    found = comparison.cells(compared, "half")
    assert found["Reg-Acc"].value == pytest.approx(100 * 2.5 / 3)
    # Wins 3/4 above the mean of 1/2 once and 1/4 below it twice; MOS 30, -10, -20 from their mean.
    assert found["PLCC"].value == pytest.approx((0.5 * 30 + 0.25 * 10 + 0.25 * 20) / math.sqrt(0.375 * 1400))
    # Ranks 3, 1.5, 1.5 against 3, 2, 1.
    assert found["SRCC"].value == pytest.approx(1.5 / math.sqrt(1.5 * 2))
    assert "Gen-Acc" not in found


def test_a_pair_without_an_answer_is_wrong_counted_and_won_by_nobody() -> None:
    compared = three(
        {("SwinIR", "RealESRNet"): None, ("Original", "SwinIR"): "Image A", ("RealESRNet", "Original"): "Image B"}
    )
    found = comparison.cells(compared, "half")
    assert found["Overall-Acc"].value == pytest.approx(100 * 2 / 3)
    assert found["Overall-Acc"].failed == 1
    assert found["Overall-Acc"].note == "1 of 3 pairs have no readable answer and count as wrong."
    assert comparison.wins(compared)["c"][1].tolist() == [1.0, 0.0, 0.0]


def test_a_true_tie_is_won_by_saying_so() -> None:
    rows = [sample("c", ("SwinIR", "HGGT"), (5.0, 5.0))]
    assert comparison.pair_up(rows, [RowAnswer({"winner": "Similar"})])[0].points("wrong") == 1.0
    assert comparison.pair_up(rows, [RowAnswer({"winner": "Image A"})])[0].points("half") == 0.0


def test_rows_without_methods_have_an_overall_accuracy_alone() -> None:
    row = Sample("x", "comparison", "test", "synth", {}, {"winner": "Image A"})
    found = comparison.cells(comparison.pair_up([row], [RowAnswer({"winner": "Image A"})]))
    assert list(found) == ["Overall-Acc"]


def test_accuracy_per_pair_of_methods(bench: list[Sample]) -> None:
    methods, found = comparison.by_methods(comparison.pair_up(bench, answers(bench, perfect)), "wrong")
    assert len(methods) == 11
    assert len(found) == 55
    assert set(found.values()) == {(100.0, 100)}
    means = {method: [] for method in methods}  # type: ignore[var-annotated]
    for one in bench:
        for method, mos in zip(one.extra["methods"], one.raw_label, strict=True):
            means[method].append(mos)
    assert methods == sorted(methods, key=lambda method: -np.mean(means[method]))
