from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.data.inspect_images import (
    ImageToInspect,
    InspectedImage,
    inspect_image,
    inspect_images,
    process_pool,
)
from qinsight_cli.core.data.near_duplicates import difference_hash
from qinsight_cli.core.errors import QInsightError


def test_what_is_seen_of_a_picture(tmp_path: Path, draw) -> None:
    path = draw(tmp_path / "a.png", 3, (36, 32))
    seen = inspect_image(ImageToInspect(path))
    assert isinstance(seen, InspectedImage)
    assert seen.path == path
    assert seen.facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with Image.open(path) as opened:
        assert (seen.facts.width, seen.facts.height) == opened.size == (36, 32)
        assert seen.hash == difference_hash(opened)
    assert seen.measures is None


def test_sizes_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    seen = inspect_image(ImageToInspect(tmp_path / "a.jpg"))
    assert isinstance(seen, InspectedImage)
    assert (seen.facts.width, seen.facts.height) == (20, 40)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_picture_gives_its_reason(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    reason = inspect_image(ImageToInspect(tmp_path / "a.jpg"))
    assert isinstance(reason, str)
    assert "\n" not in reason


def test_a_copy_has_the_same_bytes(tmp_path: Path, draw) -> None:
    path = draw(tmp_path / "a.jpg", 3)
    seen = inspect_image(ImageToInspect(path, copy_to=tmp_path / "out/deep/a.jpg"))
    assert isinstance(seen, InspectedImage)
    assert seen.path.read_bytes() == path.read_bytes()
    assert list((tmp_path / "out/deep").iterdir()) == [seen.path]


def test_many_on_several_cores_in_order(tmp_path: Path, draw) -> None:
    jobs = [ImageToInspect(draw(tmp_path / f"{i}.png", i)) for i in range(40)]
    (tmp_path / "7.png").write_bytes(b"")
    seen: list[int] = []
    results = inspect_images(jobs, 2, lambda: seen.append(1))
    assert len(seen) == 40
    assert [i for i, result in enumerate(results) if isinstance(result, str)] == [7]
    assert [result.path for result in results if isinstance(result, InspectedImage)] == [
        j.path for i, j in enumerate(jobs) if i != 7
    ]
    assert results == inspect_images(jobs, 1, lambda: None)


def test_a_worker_that_is_killed_is_one_clear_line() -> None:
    with pytest.raises(QInsightError, match="try fewer --workers"), process_pool(2) as each:
        list(each(os._exit, [1, 2], 1))


SLOW = """
import sys, time
from qinsight_cli.core.data.inspect_images import process_pool
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
