"""The folder that a bench leaves: what its files hold, and what becomes of those that were there."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.bench import output
from qinsight_cli.core.bench.paper import choose_tables
from qinsight_cli.core.bench.run import Bench, ProtocolOptions, measure
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.bench.systems.predictions import PredictionsFile
from qinsight_cli.core.errors import QInsightError

RATINGS = (1.5, 1.25, 3.0, 4.75)  # of four of the five pictures


@pytest.fixture
def system(tmp_path: Path) -> PredictionsFile:
    rows = [f"{index:02d}.png,{rating}" for index, rating in enumerate(RATINGS)]
    (tmp_path / "p.csv").write_text("\n".join(["path,rating", *rows]) + "\n")
    return PredictionsFile("my model", tmp_path / "p.csv")


@pytest.fixture
def bench(make: Any, tmp_path: Path, system: PredictionsFile, answer_settings: AnswerSettings) -> Bench:
    folder = make.scores(tmp_path / "koniq", "koniq", 5)
    return measure(choose_tables(["table1"]), [folder], [system], ProtocolOptions(draws=0), answer_settings)


def test_a_table_is_written_in_four_forms_with_its_answers_and_plots(
    bench: Bench, system: PredictionsFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    output.claim(out)
    output.write(bench, [system], out, {"seed": 3}, intervals=False)
    assert sorted(path.name for path in out.iterdir()) == [
        *("bench.json", "predictions", "table1-long.csv"),
        *(f"table1-radar.{ending}" for ending in ("pdf", "png", "svg")),
        *(f"table1-scatter-my_model.{ending}" for ending in ("pdf", "png", "svg")),
        *("table1.csv", "table1.md", "table1.tex"),
    ]
    with (out / "predictions" / "my_model-koniq-score.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == [f"{index:02d}.png" for index in range(5)]
    assert [row["rating"] and float(row["rating"]) for row in rows] == [*RATINGS, ""]
    assert [bool(row["error"]) for row in rows] == [False] * 4 + [True]


def test_the_record_has_figures_settings_and_the_digest_of_the_data(
    bench: Bench, system: PredictionsFile, tmp_path: Path
) -> None:
    record = output.records(bench, [system], {"seed": 3})["table1"]
    assert record["settings"] == {"seed": 3}
    (data,) = record["datasets"]
    assert data["sha256"] == hashlib.sha256((tmp_path / "koniq" / "test.jsonl").read_bytes()).hexdigest()
    found = {figure["metric"]: figure["value"] for figure in record["figures"] if figure["column"] == "KonIQ"}
    # Places 2, 1, 3, 4 against 1, 2, 3, 4: 1 - 6 * 2 / (4 * 15).
    assert found["SRCC"] == pytest.approx(0.8)


def test_another_table_keeps_its_place_in_the_record(bench: Bench, system: PredictionsFile, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps({"tables": {"table1": "old", "table5": "kept"}}))
    output.write(bench, [system], tmp_path, {}, intervals=False)
    tables = json.loads((tmp_path / "bench.json").read_text())["tables"]
    assert tables["table5"] == "kept"
    assert tables["table1"]["figures"]


@pytest.mark.parametrize(("name", "ours"), [("bench.json", True), ("journals", True), ("thesis.txt", False)])
def test_only_folders_of_a_bench_are_written_into(tmp_path: Path, name: str, ours: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("{}")
    if ours:
        output.claim(tmp_path / "out")
    else:
        with pytest.raises(QInsightError, match="already holds files that are no bench of qinsight"):
            output.claim(tmp_path / "out")
