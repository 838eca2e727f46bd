"""What the commands share: the progress they show, and what a terminal sees."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_progress_only_on_a_terminal(photos: list[str], mortal: Any) -> None:
    assert "7/7" not in mortal("none", 0, "score", "photos", "--csv", "out.csv").stderr
    ours, theirs = pty.openpty()
    command = mortal.command("none", 0, "score", "photos", "--csv", "out.csv")
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, check=False, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "7/7" in seen
    assert " left" in seen


def test_without_stdin(photos: list[str]) -> None:
    words = f"{sys.executable} -m qinsight_cli score - <&-"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no images given" in done.stderr
    assert Path(photos[0]).exists()
