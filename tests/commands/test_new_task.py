"""A new task is one file and one line: with them alone it is judged, prepared, read back, drawn from and trained."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.commands import judging
from qinsight_cli.commands.answers import Answers
from qinsight_cli.commands.fleet import FleetJob
from qinsight_cli.commands.options import Compute, Judging, Output
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.bench.datasets import load_dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.bench.systems.predictions import PredictionsFile
from qinsight_cli.core.data.manifest import read_split
from qinsight_cli.core.engines import Completion, Decoding, Engine
from qinsight_cli.core.tasks import TASKS, Task
from qinsight_cli.core.tasks.base import FAILURES
from qinsight_cli.core.training.grpo import run as grpo
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.run_folder import read_lines
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe
from qinsight_cli.core.training.sft.run import run_sft

FILE = '''
"""How sharp a picture is, from 1 to 5: an answer in words, not JSON."""
import re
from dataclasses import dataclass
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.base import IMAGE, ParseFailure, Task, format_reward, known_part, split_completion, text

@dataclass(frozen=True)
class Sharpness:
    sharpness: float
    reasoning: str = ""

def parse(completion):
    parts = split_completion(completion)
    if isinstance(parts, ParseFailure):
        return parts
    found = re.fullmatch(r"sharpness ([1-5](?:[.][0-9]+)?)", parts[1])
    return Sharpness(float(found[1]), parts[0]) if found else ParseFailure("not_sharp", f"the answer is {parts[1]!r}")

def rewards(completion, answer, truth):
    said = known_part(answer)
    near = said is not None and abs(said.sharpness - truth.sharpness) < 1
    return {"r_fmt": format_reward(completion, json_like=False), "r_sharp": float(near)}

def truth_of(row):
    if not 1 <= row["sharpness"] <= 5:
        raise QInsightError(f'"sharpness" is {row["sharpness"]!r}')
    return Sharpness(row["sharpness"])

def read(row):
    try:
        return {"sharpness": float(row["sharpness"])}
    except ValueError:
        return ParseFailure("not_sharp", f"the sharpness is {row['sharpness']!r}")

TASK = Task(
    name="sharpness",
    roles=("image",),
    content=lambda roles: [IMAGE, text("How sharp is it? Answer: sharpness and a number from 1 to 5.")],
    parse=parse,
    rewards=rewards,
    weights={"r_fmt": 1.0, "r_sharp": 1.0},
    titles={"r_fmt": "format", "r_sharp": "sharpness"},
    failures=("not_sharp",),
    truth=truth_of,
    answer=lambda truth: f"sharpness {truth.sharpness:.1f}",
    fields=lambda answer: {"sharpness": answer.sharpness},
    columns=("sharpness",),
    number="sharpness",
    read=read,
    spans={"sharpness": re.compile(r"(?<=sharpness )[0-9.]+")},
    digits=re.compile(r"(?<=sharpness )([0-9])[.]([0-9])"),
)
'''


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    """The one file, and the one line."""
    (tmp_path / "sharpness_task.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("sharpness_task")
    monkeypatch.setitem(TASKS, "sharpness", module.TASK)
    yield module.TASK
    del sys.modules["sharpness_task"]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Eight pictures of large random blocks, no two alike, and labels.csv, whose scale is 0 to 70."""
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    for index in range(8):
        blocks = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(f"p/{index}.png")
    lines = [f"p/{index}.png,{10 * index}" for index in range(8)]
    Path("labels.csv").write_text("file,mos\n" + "\n".join(lines) + "\n")
    return [f"p/{index}.png" for index in range(8)]


@pytest.fixture
def prepared(pictures: list[str], task: Task, run: Callable[..., Any]) -> Path:
    arguments = ("--image-column", "file", "--label-column", "mos", "--test-share", 0, "--workers", 1, "--out", "d")
    done = run("prepare", "csv", "labels.csv", "--task", "sharpness", *arguments)
    assert done.code == 0, done.err
    return Path("d")


class SharpEngine(Engine):
    """Calls every picture 3.5 sharp, but for one of the width `odd`, of which it says nothing readable."""

    def __init__(self, odd: int = -1) -> None:
        self.identity, self.odd = {"model": "sharp"}, odd

    def prepare(self, requests: Any) -> Any:
        return list(requests)

    def generate(self, batch: Any, decoding: Decoding) -> list[list[Completion]]:
        return [
            [Completion(self._text(request.images[0].width, draw), 9, 5, "stop") for draw in range(decoding.samples)]
            for request in batch
        ]

    def _text(self, width: int, draw: int) -> str:
        answer = "very" if width == self.odd else f"sharpness {3.5 + draw / 2}"
        return f"<think> Edges. </think><answer> {answer} </answer>"


def test_it_is_judged_as_score_judges(
    pictures: list[str], task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (50, 96)).save("p/odd.png")
    monkeypatch.setattr(judging, "load_engine", lambda run, task: SharpEngine(odd=50))
    items = [{"image": path} for path in (*pictures[:2], "p/odd.png")]
    options = Judging(
        output=Output(csv="out.csv"),
        model="tiny",
        serving=Serving(),
        fleet=FleetJob(),
        compute=Compute(),
        answers=Answers(samples=2),
        prompt=None,
    )
    counts = judging.judge(task, items, options, task.row_columns)
    assert (counts["rows"], counts["errors"]) == (3, 1)
    with open("out.csv", newline="") as file:
        first, _, odd = csv.DictReader(file)
    assert list(first) == ["path", "sharpness", "sharpness_std", "samples", "verdict", "reasoning", "error"]
    assert list(first.values()) == ["p/0.png", "3.750", "0.354", "2", "Edges.", "Edges.", ""]
    assert (odd["sharpness"], odd["error"]) == ("", "not_sharp: the answer is 'very'")
    shown = replace(options, output=Output(), answers=Answers())
    judging.judge(task, items, shown, task.row_columns)
    assert "3.50 █████░░░" in capsys.readouterr().out  # 2.5 of 4 steps from 1 to 5, of 8 characters


def test_its_labels_are_prepared_and_drawn(prepared: Path, task: Task) -> None:
    rows = read_split(prepared, "train")
    # 0 to 70 becomes 1 to 5.
    assert [row.truth for row in rows] == [{"sharpness": round(1 + 4 * index / 7, 4)} for index in range(8)]
    drawn = load_dataset(prepared, "sharpness", "train", 4, 0)
    assert drawn is not None
    # Fifths of the scale hold 2, 1, 2, 1, 2 rows: half of them are one of each two, and one of the single rows.
    fifths = [min(4, int((row.truth["sharpness"] - 1) / 0.8)) for row in drawn.samples]
    assert len(fifths) == 4
    assert {0, 2, 4} <= set(fifths)


def test_predictions_are_read(prepared: Path, tmp_path: Path) -> None:
    Path("said.csv").write_text("path,sharpness,error\np/0.png,2.5,\np/1.png,,broken\np/2.png,much,\n")
    dataset = load_dataset(prepared, "sharpness", "train", None, 0)
    assert dataset is not None
    system = PredictionsFile("x", Path("said.csv"))
    assert system.refusal(dataset) is None
    settings = AnswerSettings(tmp_path, Decoding(), 8, 0, False, False, lambda words: None, lambda noun, total: None)
    said = system.answers(dataset, settings)
    assert said[0].fields == {"sharpness": 2.5}
    assert [answer.error for answer in said[1:4]] == ["broken", "the sharpness is 'much'", "no prediction for it"]


def test_it_is_trained_by_sft_and_grpo(prepared: Path, random_model: Path, tmp_path: Path) -> None:
    rows = read_split(prepared, "train")
    phase = Phase("talk", "talk", 2, 4, 1e-3, {"sharpness": 1.0})
    recipe = SftRecipe(
        *(str(random_model), 1, (phase,)),
        token_weights={"sharpness": 4.0},
        rating_spread=0.3,
        workers=0,
        bf16=False,
        final_dtype="float32",
    )
    taught = run_sft(recipe, rows, tmp_path / "sft", [])
    chosen = GrpoRecipe(
        model=str(taught),
        tasks=("sharpness",),
        num_generations=2,
        total_batch=4,
        per_device_batch=4,
        max_steps=2,
        max_completion_tokens=32,
        bf16=False,
        final_dtype="float32",
        rank_weight=0.5,
    )
    final = grpo.run_grpo(grpo.TrainingRun(chosen, rows, []), tmp_path / "grpo")
    assert json.loads((final / "config.json").read_text())["dtype"] == "float32"
    lines = read_lines(tmp_path / "grpo" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert all({"r_fmt", "r_sharp", "r_rank"} <= line.keys() for line in lines)
    assert {kind for line in lines for kind in line["parse_failures"]} <= {*FAILURES, "not_sharp"}
    assert (tmp_path / "grpo" / "rewards.png").is_file()
