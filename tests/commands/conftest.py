"""What the tests of the commands share: pictures, a stand-in for the model, and one way to run a command."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

import bench_data
import pixel_engine
from prepare_runs import picture, write_csv
from qinsight_cli import cli
from qinsight_cli.core.bench import output
from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.models import names

HELPERS = Path(pixel_engine.__file__).parent


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out, newline="")))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs one command line in this process."""

    def run_it(*arguments: object) -> Done:
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run_it


@pytest.fixture
def pixel_model(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Puts PixelEngine in the place of every model; the list fills with the engines made."""
    engines: list[Any] = []

    def load_engine(model: str, device: str, dtype: str, max_pixels: int | None, *_: Any) -> Any:
        engines.append(pixel_engine.PixelEngine(name=f"pixels-{model}-{max_pixels}"))
        return engines[-1]

    monkeypatch.setattr("qinsight_cli.core.engines.local.load_engine", load_engine)
    return engines


SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pixel_engine import PixelEngine
from qinsight_cli.core.engines import local
from qinsight_cli import cli
sent, after = sys.argv[2], int(sys.argv[3])
class Mortal(PixelEngine):
    def generate(self, batch, decoding):
        if sent == "interrupt" and len(self.batches) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return super().generate(batch, decoding)
def load_engine(model, device, dtype, max_pixels, *_):  # under the name of pixel_model: either resumes the other
    return Mortal(name=f"pixels-{model}-{max_pixels}")
local.load_engine = load_engine
real, calls = os.fsync, [0]
def fsync(descriptor):
    calls[0] += 1
    if sent == "kill" and calls[0] == after:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
os.fsync = fsync
sys.argv = ["qinsight", *sys.argv[4:]]
cli.main()
"""


class Mortal:
    """Runs a command line on PixelEngine in a process that is killed at its `after`-th fsync, or interrupted there."""

    def command(self, sent: str, after: int, *arguments: object) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(HELPERS), sent, str(after), *map(str, arguments)]

    def start(self, sent: str, after: int, *arguments: object) -> subprocess.Popen[str]:
        command = self.command(sent, after, *arguments)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, sent: str, after: int, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = self.start(sent, after, *arguments)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def mortal() -> Mortal:
    return Mortal()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven grey pictures, darker to brighter, in the working folder."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    for i in range(7):
        Image.new("RGB", (20 + i, 16), (40 * i,) * 3).save(f"photos/{i}.png")
    return [f"photos/{i}.png" for i in range(7)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kadid(here: Path) -> Path:
    """KADID-10k in small: three references, five levels of one distortion."""
    rows = [
        (f"I{r:02d}_01_{level:02d}.png", f"I{r:02d}.png", 5 - level * 0.7, 0.5)
        for r in range(1, 4)
        for level in range(1, 6)
    ]
    write_csv(here / "kadid10k/dmos.csv", ("dist_img", "ref_img", "dmos", "var"), *rows)
    for number, name in enumerate([row[0] for row in rows] + ["I01.png", "I02.png", "I03.png"]):
        picture(here / "kadid10k/images" / name, number)
    return here / "kadid10k"


@pytest.fixture(scope="session")
def bench_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    bench_data.everything(folder)
    return folder


@pytest.fixture
def all_tasks(bench_datasets: Path, here: Path) -> Path:
    """A working folder with datasets of all three tasks under data/."""
    shutil.copytree(bench_datasets, here / "data")
    return here


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench draws no plots, which takes longer than all the rest of a small one."""
    monkeypatch.setattr(output, "_draw_plots", lambda bench, folder: None)


def sample(folder: Path, task: str, number: int, **truth: Any) -> Sample:
    return Sample(f"{task}{number}", task, "train", "made", {"image": folder / f"{number}.png"}, truth)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data/made: 10 score rows and 10 degradation rows."""
    folder = tmp_path / "data" / "made"
    folder.mkdir(parents=True)
    coffee = Image.fromarray(skimage.data.coffee())
    rows = []
    for number in range(10):
        coffee.crop((number, number, number + 96, number + 64)).save(folder / f"{number}.png")
        rows.append(sample(folder, "score", number, rating=1.0 + 0.4 * number))
        rows.append(sample(folder, "degradation", number, distortion="blur", severity="serious"))
    write_dataset(folder, rows, {"name": "made"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def embedded(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` is the random model."""
    monkeypatch.setattr(names, "TINY_FOLDER", random_model)
