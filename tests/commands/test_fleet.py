"""Jobs on Ray: what the command line takes, and a job whose workers and driver are killed.

The jobs need the extra `heavy`, and are left out without it.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

import bench_data
from qinsight_cli.commands.fleet import with_address

START = "import sys; from qinsight_cli import cli; sys.argv[0] = 'qinsight'; cli.main()"
PATIENCE = 240.0  # seconds for a whole job


def test_a_bare_ray_means_auto() -> None:
    assert with_address(["score", "--ray", "a.jpg"]) == ["score", "--ray=auto", "a.jpg"]
    assert with_address(["score", "a.jpg", "--ray"]) == ["score", "a.jpg", "--ray=auto"]
    assert with_address(["score", "--ray", "--out", "x"]) == ["score", "--ray=auto", "--out", "x"]
    for address in ("auto", "local", "head:6379", "10.0.0.1:6379", "ray://head:10001", "[::1]:6379"):
        assert with_address(["score", "--ray", address]) == ["score", "--ray", address]
    assert with_address(["score", "--", "--ray", "a.jpg"]) == ["score", "--", "--ray", "a.jpg"]


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no folder": (["--ray"], "--ray needs --out DIR"),
    "csv": (["--ray", "--out", "x", "--csv", "y.csv"], "leave out --csv, --jsonl and --html"),
    "html": (["--ray", "--out", "x", "--html", "y.html"], "leave out --csv, --jsonl and --html"),
    "gate": (["--ray", "--out", "x", "--fail-below", "2"], "leave out --fail-below"),
    "no cluster": (["--out", "x"], "are for a Ray cluster"),
    "actors": (["--actors", "3"], "--actors is for a Ray cluster"),
    "no address": (["--ray=photos/0.png", "--out", "x"], "give auto, local, HOST:PORT"),
}


@pytest.mark.parametrize(("given", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(given: list[str], words: str, run: Any, photos: list[str]) -> None:
    done = run("score", *photos, *given)
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1), done.err
    assert words in done.err


def test_without_ray(run: Any, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("score", "photos", "--ray", "--out", "x")
    assert done.code == 1
    assert "pip install 'qinsight[ray]'" in done.err


def test_an_address_that_does_not_answer(run: Any, photos: list[str]) -> None:
    pytest.importorskip("ray")
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9"):
        done = run("score", "photos", "--ray", address, "--out", "x")
        assert done.code == 1
        words = "no Ray answers there (Connection refused); check the address, or start Ray with `ray start`"
        assert f"--ray {address}: {words}" in done.err
    assert not os.path.exists("x")


@pytest.fixture
def crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with forty different pictures, two of them broken."""
    photo = skimage.data.chelsea()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").mkdir()
    for i in range(40):
        Image.fromarray(photo[i : i + 200, 2 * i : 2 * i + 240]).save(f"crops/{i:02}.jpg", quality=95 - 2 * i)
    for i in (7, 23):
        data = Path(f"crops/{i:02}.jpg").read_bytes()
        Path(f"crops/{i:02}.jpg").write_bytes(data[:2000])
    return tmp_path


def whole_rows(folder: str) -> list[dict[str, Any]]:
    """Every row of the parts, by path."""
    import pyarrow.parquet

    found: list[dict[str, Any]] = []
    for path in [*Path(folder).glob("part-*"), *Path(folder).glob("errors-*")]:
        found += pyarrow.parquet.read_table(path).to_pylist()
    return sorted(found, key=lambda row: str(row["path"]))


def wait_for(what: Any, process: subprocess.Popen[bytes]) -> Any:
    """The first true value of `what()` while a job runs."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := what():
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail("the job ended, or its time, before anything could be killed")


def actors() -> list[int]:
    """The process ids of the workers that judge, by the names that Ray gives to its processes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"ray::MapWorker(MapBatches(Judge" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_workers_and_driver_killed(crops: Path, run: Any) -> None:
    """Every picture has one row, with the answer that it has without Ray."""
    pytest.importorskip("ray")
    command = [sys.executable, "-c", START, "score", "crops", "--ray", "local", "--out", "out", "--rating", "answer"]
    parts = Path("out")
    with open("log", "wb") as log:
        driver = subprocess.Popen(command, stderr=log, stdout=log)
        wait_for(lambda: len(list(parts.glob("part-*"))) >= 2, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        kept = list(parts.glob("part-*"))
        assert len(kept) < 14
        again = subprocess.Popen(command, stderr=log, stdout=log)
        wait_for(lambda: len(list(parts.glob("part-*"))) > len(kept), again)
        if victims := actors():
            os.kill(victims[0], signal.SIGKILL)
        assert again.wait(PATIENCE) == 3, Path("log").read_text()[-3000:]
    assert "resuming: " in Path("log").read_text()
    rows = whole_rows("out")
    assert len(rows) == len({row["path"] for row in rows}) == 40
    assert run("score", "crops", "--csv", "plain.csv", "--rating", "answer").code == 3
    with open("plain.csv", newline="") as file:
        plain = sorted(csv.DictReader(file), key=lambda row: row["path"])
    for name in ("path", "reasoning", "error"):
        assert [row[name] or "" for row in rows] == [row[name] for row in plain]
    assert [row["rating"] for row in rows] == [float(row["rating"]) if row["rating"] else None for row in plain]
    assert len(list(parts.glob("errors-*"))) >= 1
    other = run("score", "crops", "--ray", "local", "--out", "out", "--rating", "answer", "--seed", 5)
    assert other.code == 1
    assert "was started with other settings (seed 0 -> 5)" in other.err


def test_pairs_and_a_bench(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """compare in both orders into CSV parts, and a table of the bench."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    bench_data.scores(Path("data/koniq"), "koniq", count=6)
    Path("pairs.csv").write_text(
        "image_a,image_b\n" + "".join(f"data/koniq/images/0{i}.png,data/koniq/images/0{i + 1}.png\n" for i in range(3))
    )
    more = ["--pairs", "pairs.csv", "--both-orders"]
    done = run("compare", *more, "--ray", "local", "--out", "out", "--parts", "csv", "--actors", 1)
    assert done.code in (0, 3), done.err
    run("compare", *more, "--csv", "plain.csv")
    with open("plain.csv", newline="") as file:
        plain = {row["image_a"]: row["winner"] for row in csv.DictReader(file)}
    found = [row for path in Path("out").glob("*.csv") for row in csv.DictReader(path.open(newline=""))]
    assert {row["image_a"]: row["winner"] for row in found} == plain
    assert all(row["agreement"] in ("agree", "disagree") for row in found if not row["error"])
    benches = [["--out", "there", "--ray", "local", "--actors", "1"], ["--out", "here"]]
    for options in benches:
        assert run("bench", "table1", "--bootstrap", 0, *options).code in (0, 3)
    there, here = (bench_data.long_rows(Path(f"{name}/table1-long.csv")) for name in ("there", "here"))
    assert there["tiny", "KonIQ", "SRCC"]["value"] == here["tiny", "KonIQ", "SRCC"]["value"]
