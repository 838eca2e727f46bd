"""A bench run from predictions files: what is asked of whom, which lines a table gets, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.bench.paper import choose_tables
from qinsight_cli.core.bench.run import ProtocolOptions, check_inputs, measure
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.bench.systems.predictions import PredictionsFile
from qinsight_cli.core.data.manifest import read_split, write_dataset
from qinsight_cli.core.errors import QInsightError


def ratings(path: Path, label: str, count: int = 6, turned: bool = False) -> PredictionsFile:
    """A file that rates the pictures of `make.scores` in their order, or in the reverse one."""
    rows = [f"{index:02d}.png,{count - index if turned else index}" for index in range(count)]
    path.write_text("\n".join(["path,rating", *rows]) + "\n")
    return PredictionsFile(label, path)


def test_each_system_has_a_line_with_its_own_figures(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 6)
    systems = [ratings(tmp_path / "a.csv", "good"), ratings(tmp_path / "b.csv", "bad", turned=True)]
    bench = measure(choose_tables(["table1"]), [folder], systems, ProtocolOptions(draws=0), answer_settings)
    found = {
        line.method: line.cells["KonIQ"].value
        for line in bench.grids[0].lines
        if line.measured and line.metric == "SRCC"
    }
    assert found == {"good": pytest.approx(1.0), "bad": pytest.approx(-1.0)}
    assert bench.failed == 0


def test_measured_lines_stand_below_published_ones_of_the_same_name(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 6)
    systems = [ratings(tmp_path / "a.csv", "deqa")]
    (grid,) = measure(choose_tables(["table1"]), [folder], systems, ProtocolOptions(draws=0), answer_settings).grids
    names = [(line.method, line.measured) for line in grid.lines]
    start = names.index(("DeQA", False))
    assert names[start : start + 4] == [("DeQA", False)] * 2 + [("deqa", True)] * 2


def test_rows_without_a_prediction_are_counted(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 6)
    bench = measure(
        choose_tables(["table1"]),
        [folder],
        [ratings(tmp_path / "a.csv", "x", 4)],
        ProtocolOptions(draws=0),
        answer_settings,
    )
    assert bench.failed == 2
    assert bench.grids[0].lines[-1].cells["KonIQ"].failed == 2


def test_a_sample_is_named_in_the_title_and_published_figures_in_the_remark(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 6)
    tables = choose_tables(["table1"])
    drawn = measure(
        tables, [folder], [ratings(tmp_path / "a.csv", "x")], ProtocolOptions(limit=3, draws=0), answer_settings
    )
    assert drawn.grids[0].title.endswith("(a stratified sample: 3 of 6 of koniq)")
    empty = measure(tables, [folder], [], ProtocolOptions(draws=0), answer_settings)
    assert empty.grids[0].remarks == ["Published figures; nothing was measured here."]


def test_a_system_that_serves_no_table_is_refused(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    folder = make.degradations(tmp_path / "kadis", each=1)
    with pytest.raises(QInsightError, match="degradation needs path,distortion,severity"):
        measure(
            choose_tables(["table2"]),
            [folder],
            [ratings(tmp_path / "a.csv", "x")],
            ProtocolOptions(draws=0),
            answer_settings,
        )


def test_predictions_for_other_pictures_are_refused(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 6)
    (tmp_path / "a.csv").write_text("path,rating\nelsewhere.png,3\n")
    with pytest.raises(QInsightError, match=r"other pictures than koniq.*'elsewhere\.png'"):
        measure(
            choose_tables(["table1"]),
            [folder],
            [PredictionsFile("x", tmp_path / "a.csv")],
            ProtocolOptions(),
            answer_settings,
        )


@pytest.mark.parametrize(
    ("labels", "words"),
    [(("a", "a"), "are called a;"), (("A b", "a_b"), "called A b and a_b, which give the same file name")],
)
def test_two_systems_of_one_file_name_are_refused(tmp_path: Path, labels: tuple[str, str], words: str) -> None:
    systems = [ratings(tmp_path / "p.csv", label) for label in labels]
    with pytest.raises(QInsightError, match=words):
        check_inputs(choose_tables(["table1"]), [], systems)


# --- Table 5 without references ------------------------------------------------------------------------------------


def winners(path: Path, folder: Path) -> PredictionsFile:
    """A file that says Image A to every pair."""
    rows = [f"{s.images['image_a']},{s.images['image_b']},Image A" for s in read_split(folder, "test", ("comparison",))]
    path.write_text("\n".join(["image_a,image_b,winner", *rows]) + "\n")
    return PredictionsFile("always A", path)


def test_pairs_without_references_are_said_to_be_so_everywhere(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    folder = make.comparisons(tmp_path / "srbench")
    tables = choose_tables(["table5"])
    bench = measure(tables, [folder], [winners(tmp_path / "a.csv", folder)], ProtocolOptions(draws=0), answer_settings)
    (grid,) = bench.grids
    assert grid.title == "Table 5: Reference-based comparison on SRIQA-Bench; measured here without references"
    assert any(words.startswith("Without references: all pairs of srbench have none") for words in grid.remarks)
    assert grid.lines[-1].note == "The rows name no reference."
    assert bench.datasets["5"][0].facts()["rows_without_reference"] == 110
    assert "all pairs of a content, with Original" in " ".join(grid.remarks)


def test_another_dataset_is_not_called_sriqa_bench(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    folder = make.comparisons(tmp_path / "mine", name="mine")
    tables = choose_tables(["table5"])
    bench = measure(tables, [folder], [winners(tmp_path / "a.csv", folder)], ProtocolOptions(draws=0), answer_settings)
    (grid,) = bench.grids
    assert grid.title.startswith("Table 5: Reference-based comparison on SRIQA-Bench; measured here on mine without")
    assert "with Original" not in " ".join(grid.remarks)


def test_strict_refuses_what_is_not_measured_as_in_the_paper(make: Any, tmp_path: Path) -> None:
    strict, tables = ProtocolOptions(strict=True), choose_tables(["table5"])
    for name, reason in (("srbench", "110 of 110 rows of srbench have no reference"), ("mine", "mine is not srbench")):
        folder = make.comparisons(tmp_path / name, name=name)
        with pytest.raises(QInsightError, match=f"--strict: the data of table5 are not the paper's: {reason}"):
            check_inputs(tables, [folder], [], strict)
        check_inputs(tables, [folder], [])
    whole = [
        replace(sample, images={**sample.images, "reference": sample.images["image_a"]})
        for sample in read_split(tmp_path / "srbench", "test", ("comparison",))
    ]
    write_dataset(tmp_path / "whole", whole, {"name": "srbench"})
    check_inputs(tables, [tmp_path / "whole"], [], strict)
    check_inputs(choose_tables(["table1"]), [make.scores(tmp_path / "other", "other")], [], strict)
