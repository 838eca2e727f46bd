"""Model names: where each leads, and what is said of one that leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import qinsight_cli
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.models.names import for_task, resolve


@pytest.mark.parametrize(
    ("name", "repo", "subfolder", "revision"),
    [
        ("q-insight", "ByteDance/Q-Insight", "score_degradation", None),
        ("q-insight:comparison", "ByteDance/Q-Insight", "comparison", None),
        ("q-insight@v1", "ByteDance/Q-Insight", "score_degradation", "v1"),
        ("q-insight:comparison@v1", "ByteDance/Q-Insight", "comparison", "v1"),
        ("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", "", None),
        ("someone/model", "someone/model", "", None),
        ("someone/model:a/b@main", "someone/model", "a/b", "main"),
    ],
)
def test_hub_names(name: str, repo: str, subfolder: str, revision: str | None) -> None:
    found = resolve(name)
    assert (found.repo, found.subfolder, found.revision, found.folder) == (repo, subfolder, revision, None)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("q-insight", "q-insight:comparison"),
        ("q-insight@v1", "q-insight:comparison@v1"),
        ("q-insight:score_degradation", "q-insight:score_degradation"),
        ("tiny", "tiny"),
        ("someone/model", "someone/model"),
    ],
)
def test_a_release_has_weights_for_each_kind_of_task(name: str, found: str) -> None:
    assert for_task(name, "comparison") == found


def test_a_folder_of_that_name_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q-insight").mkdir()
    assert for_task("q-insight", "comparison") == "q-insight"


def test_tiny_is_the_folder_in_the_package() -> None:
    assert resolve("tiny").folder == Path(qinsight_cli.__file__).parent / "tiny"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tinny", "did you mean tiny"),
        ("q-insigt", "did you mean q-insight"),
        ("tiny:part", "did you mean tiny"),
        ("gpt", "give tiny"),
        ("", "give tiny"),
        ("./nowhere/model", "give tiny"),
        ("/no/model", "give tiny"),
        ("a/b/c", "give tiny"),
    ],
)
def test_unknown_names_say_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(QInsightError, match=hint):
        load_model(name)
