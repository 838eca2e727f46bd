"""The cache of answers: what an answer depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.inference import cache as module
from qinsight_cli.core.inference.cache import scope_of


def settings(**changes: Any) -> dict[str, Any]:
    model = {"model": "a", "weights": "w", "device": "cpu", "dtype": "float32", "max_pixels": 9, "files": {"c": "1"}}
    decoding = Decoding().as_dict()
    whole = {
        "task": "score",
        "prompt": "p",
        "model": model,
        "decoding": decoding,
        "seed": 0,
        "versions": {"torch": "2"},
    }
    for name, value in changes.items():
        group, _, key = name.partition("__")
        whole = {**whole, group: {**whole[group], key: value} if key else value}  # type: ignore[dict-item]
    return whole


# --- what an answer depends on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "degradation"},
        {"prompt": "q"},
        {"model__weights": "v"},
        {"model__device": "cuda"},
        {"model__dtype": "bfloat16"},
        {"model__max_pixels": 10},
        {"model__files": {"c": "2"}},
        {"versions": {"torch": "3"}},
        *(
            {f"decoding__{name}": value}
            for name, value in vars(Decoding(9, 2, 0.5, 3, 0.4, "expected", "direct")).items()
        ),
    ],
    ids=str,
)
def test_another_setting_is_another_scope(changes: dict[str, Any]) -> None:
    assert scope_of(settings(**changes), 1000) != scope_of(settings(), 1000)


def test_every_setting_of_a_decoding_is_tried_above() -> None:
    assert all(
        a != b for a, b in zip(vars(Decoding()).values(), (9, 2, 0.5, 3, 0.4, "expected", "direct"), strict=True)
    )


def test_the_seed_counts_where_something_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scope_of(settings(seed=1), 1000) == scope_of(settings(), 1000)
    warm = {"decoding__temperature": 1.0}
    assert scope_of(settings(seed=1, **warm), 1000) != scope_of(settings(**warm), 1000)


def test_the_name_of_a_model_does_not_count_and_one_without_weights_is_not_cached() -> None:
    assert scope_of(settings(model__model="b"), 1000) == scope_of(settings(), 1000)
    assert scope_of(settings(model={"model": "endpoint"}), 1000) is None


def test_another_source_reader_or_limit_is_another_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scope_of(settings(), 1000)
    assert scope_of(settings(), 1001) != before
    with monkeypatch.context() as patch:
        patch.setattr(module, "source_digest", lambda: "corrected")
        assert scope_of(settings(), 1000) != before
    monkeypatch.setattr(module, "installed_version", lambda package: "99")
    assert scope_of(settings(), 1000) != before


def test_the_digest_of_the_source_changes_with_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("engines", "images", "models", "tasks", "inference"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "inference" / "cache.py"))
    seen = []
    for words in ("a = 1", "a = 2"):
        (tmp_path / "tasks" / "score.py").write_text(words)
        seen.append(module.source_digest.__wrapped__())
    assert seen[0] != seen[1]
