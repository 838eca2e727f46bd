"""The pool of worker processes: killed workers, signals, and the end of the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qinsight_cli.core.data.process_pool import process_pool
from qinsight_cli.core.errors import QInsightError


def test_a_worker_that_is_killed_is_one_clear_line() -> None:
    with pytest.raises(QInsightError, match="try fewer --workers"), process_pool(2) as each:
        list(each(os._exit, [1, 2], 1))


SLOW = """
import sys, time
from qinsight_cli.core.data.process_pool import process_pool
if __name__ == "__main__":
    with process_pool(2) as each:
        for done in each(time.sleep, [0.01, 0.01] + [1.0] * 60, 1):
            print("working", flush=True)
"""


def members(session: int) -> set[int]:
    """The processes of a session, from /proc."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(own) == session and state != "Z":
                found.add(int(entry.name))
    return found


def restore_signals() -> None:
    """A suite that runs in the background or under nohup hands on signals that it ignores."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=restore_signals,
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert len(members(process.pid)) >= 3
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    process.stdout.close()
    until = time.monotonic() + 20
    while members(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not members(process.pid)


@pytest.mark.skipif(not hasattr(signal, "SIGTERM") or os.name == "nt", reason="signals of POSIX")
def test_sigterm_ends_prepare_in_silence_and_a_second_run_goes_on(tmp_path: Path, draw) -> None:
    rows = [f"{draw(tmp_path / 'p' / f'{i}.png', i, (90, 80)).name},{i}" for i in range(600)]
    (tmp_path / "t.csv").write_text("\n".join(["file,mos", *rows]) + "\n")
    words = [
        "prepare",
        "csv",
        "t.csv",
        "--images",
        "p",
        "--image-column",
        "file",
        "--label-column",
        "mos",
        "--out",
        "d",
    ]
    command = [sys.executable, "-m", "qinsight_cli", *words, "--workers", "2", "--copy"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "d/images").exists() and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not [path.name for path in (tmp_path / "d").rglob(".*")]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
