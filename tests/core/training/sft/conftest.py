"""The processor of the small random model, and one finished run of SFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.models.processor import load_processor
from qinsight_cli.core.training.sft import run
from sft_recipe import DATA, RECIPE


@pytest.fixture(scope="module")
def processor(random_model: Path) -> Any:
    return load_processor(random_model)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, small_rows: list[Sample]) -> Path:
    """The folder of an undisturbed run that logs every step."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "LOG_EVERY", 1)
        run.run_sft(RECIPE, small_rows, out, DATA)
    return out
