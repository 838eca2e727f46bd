"""Programs of benchmarks/, run small: each prints a table and one JSON line, and what it counts adds up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "benchmarks"


def printed(name: str, *arguments: object) -> dict[str, Any]:
    """The JSON line of a program, the last that it prints."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *table, last = done.stdout.strip().splitlines()
    assert len(table) >= 2, "a table comes first"
    found = json.loads(last)
    assert found["benchmark"] == name
    return found


def test_fleet_simulation() -> None:
    cases = printed("fleet_simulation", "--pictures", 10_000_000, "--mtbf", 24)["cases"]
    ideal = 10_000_000 / (64 * 15)
    assert 1.0 < cases["no failures"]["seconds"] / ideal < 1.1
    assert cases["no failures"]["wasted"] == 0
    assert all(each["wasted"] < 0.01 for each in cases.values())
    assert cases["spot machines"]["failures"] > 5 * cases["as expected"]["failures"]
    assert cases["spot machines"]["seconds"] > cases["as expected"]["seconds"] > cases["no failures"]["seconds"]


def test_startup() -> None:
    """`--help` loads no command, so it stays below what the issue of a slow start was measured against."""
    rows = {row["what"]: row for row in printed("startup", "--repeats", 3, "--only", "help")["rows"]}
    assert rows["qinsight --help"]["ratio"] <= 1.3


def test_samples() -> None:
    found = printed("samples", "--samples", 3, "--tokens", 4, "--repeats", 1)
    shared, separate = found["rows"]
    assert shared["other"] > 0
    assert separate["ratio"] == separate["seconds"] / separate["other"]
