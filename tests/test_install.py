"""What a plain install can do, what an extra adds, and what a command says that misses one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import bench_data
from qinsight_cli.core.extras import EXTRAS, explain

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# A command line in a process where the modules of the extras cannot be imported, as in a plain install. transformers
# asks for peft in another way than by importing it, so that stays.
PLAIN = """
import sys
from qinsight_cli.core.extras import EXTRAS
blocked = {module for extra in EXTRAS.values() for module in extra.modules} - {"peft"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from qinsight_cli import cli
sys.exit(cli.run(sys.argv[1:]))
"""
SCORING = """
import sys
from qinsight_cli import QInsight
answer = QInsight("tiny", cache=False).score(sys.argv[1])
assert answer.rating is not None
training = ("trl", "datasets", "pandas", "pyarrow", "matplotlib", "cv2", "skimage", "openpyxl", "peft", "sklearn")
print([name for name in sys.modules if name.partition(".")[0] in training])
print([name for name in sys.modules if name.startswith(("qinsight_cli.core.training", "qinsight_cli.core.bench"))])
"""


def run_plain(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PLAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def picture(tmp_path: Path, photo: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).resize((90, 60)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_loading_a_model_and_scoring_import_nothing_of_training(picture: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCORING, picture], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


# --- a plain install runs what a user types first ------------------------------------------------------------------


def test_score_in_a_plain_install(picture: Path) -> None:
    done = run_plain("score", picture, "--csv", "-", "--mode", "direct")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(f"{picture},")


def test_training_in_a_plain_install(picture: Path) -> None:
    for make, name in ((bench_data.scores, "scores"), (bench_data.degradations, "damage")):
        folder = make(Path("data") / name, name)
        for manifest in folder.glob("test.jsonl"):  # rows of the test split, taken for training
            manifest.rename(folder / "train.jsonl")
            text = (folder / "train.jsonl").read_text().replace('"split": "test"', '"split": "train"')
            (folder / "train.jsonl").write_text(text)
    done = run_plain("train", "--tasks", "score,degradation", "--dry-run")
    assert done.returncode == 0, done.stderr


def test_bench_in_a_plain_install(picture: Path) -> None:
    bench_data.comparisons(Path("data/srbench"))
    done = run_plain("bench", "srbench", "--limit", 2, "--mode", "direct")
    assert done.returncode in (0, 3), done.stderr
    assert "tiny" in done.stdout
    done = run_plain("bench", "srbench", "--metric", "psnr", "--out", "psnr")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'qinsight[data]'" in done.stderr.splitlines()[-1]


def test_a_dataset_is_prepared_in_a_plain_install(picture: Path) -> None:
    Path("labels.csv").write_text("image,mos\na.png,3.5\n")
    table = ("prepare", "csv", "labels.csv", "--image-column", "image", "--label-column", "mos", "--scale", "1:5")
    done = run_plain(*table, "--out", "d")
    assert done.returncode == 0, done.stderr
    done = run_plain(*table, "--out", "e", "--reasoning")
    assert_one_line(done, "qinsight[data]")


# --- a command that misses an extra --------------------------------------------------------------------------------


def assert_one_line(done: subprocess.CompletedProcess[str], wanted: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"pip install '{wanted}'" in done.stderr.splitlines()[-1], done.stderr


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("data", ("prepare", "synth", ".", "--out", "s")),
        ("data", ("prepare", "csv", "labels.xlsx", "--image-column", "a", "--label-column", "b")),
        ("endpoint", ("score", "a.png", "--model", "m", "--endpoint", "http://localhost:9")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_the_line_says_what_to_install(picture: Path, extra: str, arguments: tuple[str, ...]) -> None:
    Path("labels.xlsx").write_bytes(b"PK\x03\x04")
    assert_one_line(run_plain(*arguments), f"qinsight[{extra}]")


def test_a_module_of_no_extra_is_a_defect_and_stays_one() -> None:
    assert explain(ModuleNotFoundError("no", name="nothing.of.ours")) is None
    assert explain(ModuleNotFoundError("no", name="cv2.gapi")) == (
        "this needs cv2, which is not installed: pip install 'qinsight[data]'"
    )


def test_the_extras_are_those_of_the_package() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(EXTRAS) <= set(extras)
    (everything,) = extras["all"]
    assert set(everything.removeprefix("qinsight[").removesuffix("]").split(",")) <= set(EXTRAS)


def test_a_plain_install_has_none_of_them(capsys: Any) -> None:
    plain = {requirement.partition(">")[0] for requirement in PROJECT["dependencies"]}
    extras = {r.partition(">")[0].partition("[")[0] for name in EXTRAS for r in PROJECT["optional-dependencies"][name]}
    assert not plain & extras
    assert {"typer", "rich", "torch", "transformers", "trl", "accelerate", "pillow", "pandas", "scipy"} <= plain
