"""qinsight doctor: what it finds, and that it tells a trap from a lack."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import bench_data
from qinsight_cli.core.extras import EXTRAS
from qinsight_cli.core.report import doctor


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_what_it_shows(here: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "outside", lambda package: "")  # versions may be any where the suite runs
    monkeypatch.setattr(doctor, "torchvision_failure", lambda: "")
    bench_data.scores(Path("data/koniq"), "koniq")
    done = run("doctor")
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert f"torch {version('torch')}" in " ".join(done.out.split())
    for section in ("versions", "devices", "models", "datasets", "extras", "cache"):
        assert section in lines
    shown = " ".join(done.out.split())
    assert "prepared koniq" in shown
    assert "tiny comes with qinsight" in shown
    assert "cores" in shown
    assert all(f" {name} " in done.out for name in EXTRAS)
    assert "no problems" in done.err


def test_a_missing_extra_is_no_trap_and_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qinsight_cli.core.extras.is_installed", lambda module: module != "peft")
    found = {finding.name: finding for finding in doctor.extras()}
    assert found["lora"].remedy == "pip install 'qinsight[lora]'"
    assert found["data"].remedy == ""
    assert not any(finding.trap for finding in found.values())


def test_a_version_out_of_range_is_a_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["trl<1.17,>=1.16", "torch>=2.9", 'peft>=9; extra == "lora"'])
    monkeypatch.setattr(
        doctor, "installed_version", lambda package: {"trl": "1.20.0", "torch": "2.13.0+cpu"}.get(package)
    )
    found = {finding.name: finding for finding in doctor.versions()}
    assert found["trl"].trap
    assert found["trl"].remedy == "pip install 'trl<1.17,>=1.16'"
    assert not found["torch"].trap
    assert found["accelerate"].state == "not installed"


def test_torchvision_that_does_not_match_is_a_trap(here: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.installed_version
    monkeypatch.setattr(
        doctor, "installed_version", lambda package: "0.28" if package == "torchvision" else real(package)
    )
    failed = subprocess.CompletedProcess(
        [], 1, "", "Traceback\nRuntimeError: operator torchvision::nms does not exist\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    done = run("doctor")
    assert done.code == 1
    assert "! torchvision" in done.out
    assert "torchvision::nms does not exist -> pip uninstall torchvision" in done.out
    assert "1 problem, marked with !" in done.err


def test_a_torn_cache_is_a_trap(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QINSIGHT_NO_CACHE")
    monkeypatch.setenv("QINSIGHT_CACHE", str(here))
    assert not next(doctor.cache()).trap
    doctor.cache_file().write_bytes(b"torn" * 1000)
    (found,) = doctor.cache()
    assert found.trap
    assert found.remedy == f"remove {doctor.cache_file()}"
