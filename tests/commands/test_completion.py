"""Shell completion, asked as bash asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qinsight_cli.core.bench.paper import TABLES


def completed(line: str, folder: Path) -> set[str]:
    words = line.split(" ")
    environment = {
        **os.environ,
        "_QINSIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "qinsight_cli"], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("qinsight sc", {"score"}),
        ("qinsight score x --sor", {"--sort"}),
        ("qinsight score x --sort ", {"rating", "best"}),
        ("qinsight score x --model q", {"q-insight", "qwen2.5-vl-7b"}),
        ("qinsight score x --model runs/f", {"runs/final"}),
        ("qinsight bench table", {table.name for table in TABLES}),
        ("qinsight bench table1 --metric ps", {"psnr"}),
        ("qinsight train --data data/k", {"data/koniq"}),
        ("qinsight train --recipe pap", None),
    ],
)
def test_names_are_completed(line: str, expected: set[str] | None, tmp_path: Path) -> None:
    for name in ("data/koniq/dataset.json", "data/other/dataset.json", "runs/final/config.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    found = completed(line, tmp_path)
    if expected is None:
        assert "paper" in found
    else:
        assert found == expected
