"""What a user may get wrong about `qinsight train`: one line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--tasks", "scoer"], 1, "no task 'scoer'"),
        (["--tasks", "comparison"], 1, "no dataset under data/ holds comparison"),
        (["--algorithm", "ppo"], 2, "ppo is not one of grpo, sft"),
        (["--algorithm", "sft", "--max-steps", "3"], 2, "max_steps is only for --algorithm grpo"),
        (["--algorithm", "sft", "--eval-data", "data/made"], 2, "eval_data is only for --algorithm grpo"),
        (["--algorithm", "sft", "--resume"], 2, "--resume needs --out"),
        (["--algorithm", "sft", "--dry-run", "--recipe", "other.yaml"], 1, "asks for score/koniq rows"),
        (["--resume"], 2, "--resume needs --out"),
        (["--resume", "--out", "nowhere"], 1, "nowhere holds no run to resume"),
        (["--mix", "score"], 2, "does not have the form NAME=VALUE"),
        (["--mix", "score=1,degradatoin=1"], 1, "did you mean degradation?"),
        (["--mix", "score=1,comparison=1"], 1, "comparison is not among the tasks of this run"),
        (["--mix", "score/koniq=1"], 1, "its score rows come from made"),
        (["--mix", "score="], 2, "does not have the form NAME=VALUE"),
        (["--set", "beta=["], 2, "does not have the form NAME=VALUE"),
        (["--set", "beta="], 2, "does not have the form NAME=VALUE"),
        (["--set", "total_batch=inf"], 1, "'inf' is not a number"),
        (["--set", "temperature=.nan"], 1, "nan is not a number"),
        (["--set", "top_p=7"], 1, "top_p is 7"),
        (["--set", "lora_rank=-1"], 1, "lora_rank is -1"),
        (["--lora", "2", "--lora-targets", "foo"], 1, "no projection 'foo'; projections are q_proj"),
        (["--recipe", "typo.yaml"], 1, "unknown section 'grop'; did you mean 'grpo'?"),
        (["--recipe", "latin.yaml"], 1, "latin.yaml is not text in UTF-8 (byte 0xe9 in line 1)"),
        (["--algorithm", "sft", "--recipe", "kind.yaml"], 1, "kind is 'tlk'; choose see or talk"),
        (["--algorithm", "sft", "--recipe", "hollow.yaml"], 1, "the sft section has no phases"),
        (["--batch", "16", "--per-device-batch", "16", "--out", "typo.yaml"], 1, "typo.yaml is a file"),
        (["--learning-rate", "1e-6"], 1, "final_learning_rate 1e-06 is not below learning_rate 1e-06"),
        (["--learning-rate", "nan"], 2, "--learning-rate nan: give a number"),
        (["--batch", "0"], 2, "--batch"),
        (["--mix", "score=-1,degradation=2"], 1, "mix: score is -1; it must be 0 or more"),
        (["--weights", "r_scr=inf"], 1, "r_scr: 'inf' is not a number"),
        (["--clip", "0"], 1, "clip is 0.0; it must be above 0"),
        (["--set", "bta=0.1"], 1, "unknown key 'bta'; did you mean 'beta'"),
        (["--num-generations", "1"], 1, "--num-generations must be 2 or more"),
        (["--batch", "20"], 1, "cannot be cut into groups of 8; try --batch 16"),
        (["--batch", "48"], 1, "try --per-device-batch 24"),
        (["--recipe", "papr"], 1, "did you mean paper"),
        (["--data", "nowhere"], 1, "nowhere has no train.jsonl"),
        (["--eval-data", "data/made"], 1, "data/made has no test.jsonl"),
        (["--model", "nowhere/at/all", "--batch", "16", "--per-device-batch", "16"], 1, "no model 'nowhere/at/all'"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, prepared: Path, embedded: None, words: list[str], code: int, says: str
) -> None:
    Path("typo.yaml").write_text("base: tiny\ngrop:\n  beta: 0.7\n")
    Path("latin.yaml").write_bytes("base: tiny # \xe9".encode("latin-1"))
    Path("hollow.yaml").write_text("sft:\n")
    phase = "{name: a, kind: tlk, steps: 1, batch: 1, learning_rate: 1, mix: {score: 1}}"
    Path("kind.yaml").write_text(f"sft: {{model: tiny, seed: 1, phases: [{phase}]}}")
    phase = "{name: a, kind: talk, steps: 1, batch: 1, learning_rate: 1, mix: {score/koniq: 1}}"
    Path("other.yaml").write_text(f"sft: {{model: tiny, seed: 1, phases: [{phase}]}}")
    done = run("train", *words)
    assert done.code == code
    assert done.out == ""
    assert says in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_rating_of_7_is_found_with_its_line(run: Run, prepared: Path, embedded: None) -> None:
    manifest = prepared / "data" / "made" / "train.jsonl"
    lines = manifest.read_text().splitlines()
    lines[4] = json.dumps({**json.loads(lines[4]), "rating": 7})
    manifest.write_text("\n".join(lines) + "\n")
    done = run("train")
    assert done.code == 1
    assert 'train.jsonl, line 5: "rating" is 7; a score row needs a number in [1, 5]' in done.err


def test_an_empty_manifest_and_a_missing_picture(run: Run, prepared: Path, embedded: None) -> None:
    small = ("--batch", "16", "--per-device-batch", "16", "--out", "out")
    (prepared / "data" / "made" / "3.png").unlink()
    done = run("train", *small, "--set", "max_steps=0", "--set", "epochs=1")
    assert done.code == 1
    assert "3.png is missing; restore it, or prepare its dataset again" in done.err
    assert not Path("out").exists()
    (prepared / "data" / "made" / "train.jsonl").write_text("")
    done = run("train", *small)
    assert done.code == 1
    assert "has no training rows for degradation, score" in done.err


def test_without_data_the_way_to_it_is_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("train", "--tasks", "score,degradation")
    assert done.code == 1
    assert "no dataset under data/ holds degradation, score" in done.err
    assert "qinsight prepare" in done.err
