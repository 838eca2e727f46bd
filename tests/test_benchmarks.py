"""Programs of benchmarks/, run small: each prints a table and one JSON line, and what it counts adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

Printed = Callable[..., dict[str, Any]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Printed:
    """Runs a program in this process and gives its JSON line, the last that it prints."""

    def run(name: str, *arguments: object) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
        import_module(name).main()
        *table, last = capfd.readouterr().out.strip().splitlines()
        assert len(table) >= 2, "a table comes first"
        found = json.loads(last)
        assert found["benchmark"] == name
        return found

    return run


def test_fleet_simulation(printed: Printed) -> None:
    cases = printed("fleet_simulation", "--pictures", 10_000_000, "--mtbf", 24)["cases"]
    ideal = 10_000_000 / (64 * 15)
    assert 1.0 < cases["no failures"]["seconds"] / ideal < 1.1
    assert cases["no failures"]["wasted"] == 0
    assert all(each["wasted"] < 0.01 for each in cases.values())
    assert cases["spot machines"]["failures"] > 5 * cases["as expected"]["failures"]
    assert cases["spot machines"]["seconds"] > cases["as expected"]["seconds"] > cases["no failures"]["seconds"]


def test_startup(printed: Printed) -> None:
    """What it measures is the benchmark's to say; that help loads no command is tested in test_cli.py."""
    (row,) = printed("startup", "--repeats", 1, "--only", "help")["rows"]
    assert row["what"] == "qinsight --help"
    # A process that starts Python takes longer than a hundredth of a second, and less than a minute.
    assert 0.01 < row["seconds"] < 60
    assert 0.01 < row["least"] < 60


def test_samples(printed: Printed, random_model: Path) -> None:
    found = printed("samples", "--model", random_model, "--samples", 3, "--tokens", 4, "--repeats", 1)
    shared, separate = found["rows"]
    assert [shared["against"], separate["against"]] == ["1 sample", "3 samples"]
    assert shared["seconds"] > 0 < shared["other"]
    assert separate["other"] == shared["seconds"]
