"""The tutorials: every command of docs/tutorials/ runs for real, and prints what the page shows."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page in their order: (language, text)."""
    return BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs the commands of a page one block after the other; each must succeed and print the block of text after it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("python", ""), ("qinsight", " -m qinsight_cli")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (programs / name).chmod(0o755)
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    environment = {name: value for name, value in os.environ.items() if name != "QINSIGHT_NO_CACHE"} | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "QINSIGHT_CACHE": str(tmp_path / "cache"),
    }

    def follow(page: str) -> None:
        found = blocks(page)
        for (language, text), (after, shown) in zip(found, [*found[1:], ("", "")], strict=True):
            if language != "sh":
                continue
            command = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            if after == "text":
                assert matches(done.stdout, shown), f"{text}\n{done.stdout}\nis not what {page} shows:\n{shown}"

    monkeypatch.chdir(folder)
    return follow


def matches(printed: str, shown: str) -> bool:
    """Whether an output is as shown; "..." stands for anything."""
    pattern = re.escape(shown.rstrip("\n")).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, printed.rstrip("\n"), re.DOTALL) is not None


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cull(run: Callable[[str], None]) -> None:
    run("cull.md")
    rated = {Path(row["path"]).name: float(row["rating"]) for row in rows("ratings.csv")}
    assert len(rated) == 9
    rejected = {path.name for path in Path("rejects").iterdir()}
    kept = {path.name for path in Path("shots").iterdir()}
    assert rejected == {name for name, rating in rated.items() if rating < 2.5}
    assert "cat-blur-catastrophic.jpg" in rejected
    assert "cat.jpg" in kept
    assert rejected | kept == set(rated)
    gallery = Path("ratings.html").read_text(encoding="utf-8")
    assert all(name in gallery for name in rated)
    named = {Path(row["path"]).name: row for row in rows("damage.csv")}
    assert set(named) == rejected
    assert not any(row["error"] for row in named.values())


def test_train(run: Callable[[str], None]) -> None:
    run("train.md")
    assert {row["path"] for row in rows("mine.csv")} == {"photos/cat.jpg", "photos/cat-blur-catastrophic.jpg"}
    assert all(1 <= float(row["rating"]) <= 5 for row in rows("mine.csv"))
    held_out, learnt = (Path(f"data/ratings/{split}.jsonl").read_text().splitlines() for split in ("test", "train"))
    assert len(held_out) + len(learnt) == 27
    assert min(len(held_out), len(learnt)) > 0
    assert Path("runs/mine/final/model.safetensors").is_file()
    assert len(Path("runs/mine/metrics.jsonl").read_text().splitlines()) == 1
    assert Path("runs/mine/rewards.svg").is_file()


def test_metric(run: Callable[[str], None]) -> None:
    from scipy.stats import pearsonr, spearmanr

    run("metric.md")
    truth = {row["path"]: float(row["rating"]) for row in rows("ratings.csv")}
    size = {row["path"]: float(row["rating"]) for row in rows("size.csv")}
    pairs = [(size[path], truth[path]) for path in truth]
    latex = Path("runs/size/table1.tex").read_text(encoding="utf-8")
    for name, measure in (("PLCC", pearsonr), ("SRCC", spearmanr)):
        (figure,) = re.findall(rf"Size .*& {name} .* & ([-0-9.]+) \\\\$", latex, re.MULTILINE)
        assert float(figure) == pytest.approx(measure(*zip(*pairs, strict=True))[0], abs=0.0005)
    assert r"Q-Insight & MLLM-based & Ours & PLCC & 0.933 & " in latex
    assert {path.suffix for path in Path("runs/size").glob("table1-scatter-*")} == {".png", ".svg", ".pdf"}


def test_gate(run: Callable[[str], None]) -> None:
    run("gate.md")
    assert [row["path"] for row in rows("quality.csv")] == ["assets/coffee.jpg"]


def test_the_workflow_and_the_hook_of_the_page_fit_the_action_and_the_hook() -> None:
    workflow, hooks = (yaml.safe_load(text) for language, text in blocks("gate.md") if language == "yaml")
    *_, step = workflow["jobs"]["quality"]["steps"]
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, each in inputs.items() if each.get("required")} <= set(step["with"])
    (hook,) = hooks["repos"][0]["hooks"]
    (ours,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == ours["id"]
    assert hook["args"][0] == ours["args"][0] == "--fail-below"
    assert 1 <= Fraction(hook["args"][1]) <= 5


def test_what_counts_as_shown() -> None:
    assert matches("wrote /a/b\n  rows 9\n", "wrote ...\n  rows 9\n")
    assert not matches("wrote /a/b\n  rows 8\n", "wrote ...\n  rows 9\n")
    assert not matches("rows 9\nmore\n", "rows 9\n")
    assert matches("one\ntwo\nthree\n", "...\nthree\n")
