"""What `qinsight prepare` makes of real labels is what `qinsight bench` reads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_srbench_from_its_label_file_to_table_5(
    run: Callable[..., Any], data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (data_dir / "labels/visualquality-r1/SRIQA-Bench_test_all.txt").read_text().splitlines()
    chosen = [line for line in lines if line.startswith(("online20_", "online50_"))]
    Path("SR/images").mkdir(parents=True)
    Path("SR/SRIQA-Bench_test_all.txt").write_text("\n".join(chosen) + "\n")
    rated = []
    for index, line in enumerate(chosen):
        _, name, mos = line.split()
        Image.new("RGB", (16, 16), (10 * index, 7, 7)).save(f"SR/images/{name}")
        rated.append(f"{name},{mos}")
    Path("p.csv").write_text("\n".join(["path,rating", *rated]) + "\n")
    assert run("prepare", "srbench", "SR").code == 0
    done = run("bench", "srbench", "--predictions", "perfect=p.csv", "--out", "out", "--bootstrap", 0)
    assert done.code == 0, done.err
    with open("out/table5-long.csv", newline="", encoding="utf-8") as file:
        rows = {row["column"]: row for row in csv.DictReader(file) if row["measured"] == "yes"}
    assert [rows[column]["count"] for column in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == ["6", "72", "110"]
    assert [rows[c]["value"] for c in ("Reg-Acc", "Gen-Acc", "Overall-Acc")] == ["100.000000"] * 3
    assert rows["SRCC"]["value"] == "1.000000"
