"""What a plain install can do, what an extra adds, and what a command says that misses one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qinsight_cli.core.extras import EXTRAS, explain

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# A command line in a process where the modules of the extras cannot be found, as in a plain install.
PLAIN = """
import sys
from qinsight_cli.core.extras import EXTRAS
sys.modules.update({module: None for extra in EXTRAS.values() for module in extra.modules})
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
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


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


# --- a command that misses an extra --------------------------------------------------------------------------------


def assert_one_line(done: subprocess.CompletedProcess[str], wanted: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"pip install '{wanted}'" in done.stderr.splitlines()[-1], done.stderr


def test_the_line_says_what_to_install(picture: Path) -> None:
    assert_one_line(run_plain("prepare", "synth", ".", "--out", "s"), "qinsight[data]")


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
