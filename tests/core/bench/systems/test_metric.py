"""PSNR and SSIM against their formulas, the pyiqa worker against a stand-in, and for real where there is one."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from qinsight_cli.core.bench import datasets
from qinsight_cli.core.bench.paper import TABLES
from qinsight_cli.core.bench.systems import metric as metrics
from qinsight_cli.core.bench.systems import psnr_ssim
from qinsight_cli.core.bench.systems.base import AnswerSettings
from qinsight_cli.core.bench.systems.metric import BASELINES, Baseline, MetricSystem, baseline_of
from qinsight_cli.core.data.manifest import Sample, write_dataset
from qinsight_cli.core.errors import ImageError, QInsightError, UsageError

# A package that looks like pyiqa to the worker: brightness, lower better, and a metric that fails on one width.
STAND_IN = """
__version__ = "0.0"
class MetricSystem:
    def __init__(self, name):
        self.name, self.lower_better = name, name == "dark"
        self.metric_mode = "FR" if name == "difference" else "NR"
    def __call__(self, *images):
        print("noise on stdout")
        if images[0].width == 33:
            raise ValueError("absurd image")
        levels = [image.getpixel((0, 0))[0] for image in images]
        return levels[0] - levels[1] if self.name == "difference" else 255 - levels[0]
def create_metric(name, device):
    if name == "unknown":
        raise KeyError("no such metric")
    return MetricSystem(name)
"""


@pytest.fixture
def pair(tmp_path: Path, photo: Any, make: Any) -> tuple[Path, Path]:
    """A real photo with noise, and clean, as files."""
    clean = photo[:120, :160]
    noisy = np.clip(clean.astype(int) + make.noise((120, 160), 0) % 41 - 20, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    Image.fromarray(clean).save(tmp_path / "clean.png")
    return tmp_path / "noisy.png", tmp_path / "clean.png"


def test_psnr_is_that_of_its_formula(pair: tuple[Path, Path]) -> None:
    first, second = (np.asarray(Image.open(path), dtype=np.float64) for path in pair)
    assert psnr_ssim.psnr(*pair) == pytest.approx(10 * math.log10(255**2 / np.mean((first - second) ** 2)))
    assert psnr_ssim.psnr(pair[1], pair[1]) == math.inf


def test_ssim_is_that_of_its_formula(pair: tuple[Path, Path]) -> None:
    # Wang et al. 2004: Gaussian window of sigma 1.5 and 11 pixels, constants (0.01 * 255)^2 and (0.03 * 255)^2.
    x, y = (np.asarray(Image.open(path), dtype=np.float64) @ [0.299, 0.587, 0.114] for path in pair)

    def smooth(values: Any) -> Any:
        return gaussian_filter(values, 1.5, truncate=3.5)

    mx, my = smooth(x), smooth(y)
    vx, vy, vxy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert psnr_ssim.ssim(*pair) == pytest.approx(map_[5:-5, 5:-5].mean(), abs=1e-6)
    assert psnr_ssim.ssim(pair[1], pair[1]) == pytest.approx(1.0)


def test_pictures_of_other_sizes_are_refused(tmp_path: Path, pair: tuple[Path, Path], make: Any) -> None:
    small = make.grey(tmp_path / "small.png", 90)
    with pytest.raises(ImageError, match="20 x 16 pixels, its reference 160 x 120: the sizes differ"):
        psnr_ssim.psnr(small, pair[1])
    with pytest.raises(ImageError, match="at least 11"):
        psnr_ssim.ssim(make.grey(tmp_path / "thin.png", 90, 5), tmp_path / "thin.png")


def test_every_metric_of_the_tables_has_a_row() -> None:
    rows = {line.method for table in TABLES for line in table.published()}
    assert {each.row for each in BASELINES} <= rows
    assert baseline_of("NIMA").name == baseline_of("nima-koniq").name == "nima-koniq"
    assert baseline_of("topiq_nr").row == "topiq_nr"


@pytest.mark.parametrize(
    ("name", "words"), [("brisqe", "did you mean brisque"), ("", "not a metric"), ("a b", "not a")]
)
def test_names_that_are_no_metric(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        baseline_of(name)


def load(folder: Path, task: str) -> Any:
    return datasets.load_dataset(folder, task, "test", None, 0)


def test_psnr_on_comparisons_takes_the_original_as_reference(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    dataset = load(make.comparisons(tmp_path / "srbench", 1), "comparison")
    metric = MetricSystem("PSNR", baseline_of("psnr"), None, "cpu")
    said = metric.answers(dataset, answer_settings)
    # Each picture is darker than the one before: the nearer to the original, the brighter, so PSNR is always right.
    assert [answer.fields["winner"] for answer in said] == [sample.truth["winner"] for sample in dataset.samples]
    assert metric.note == "PSNR: against the reference of each picture, on SRIQA-Bench the content's Original."
    again = MetricSystem("PSNR", baseline_of("psnr"), None, "cpu").answers(dataset, answer_settings)
    assert again == said


def test_a_metric_with_references_needs_them(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    dataset = load(make.scores(tmp_path / "koniq", "koniq"), "score")
    assert "needs references, and koniq has none" in str(
        MetricSystem("PSNR", baseline_of("psnr"), None, "cpu").refusal(dataset)
    )
    kadis = load(make.degradations(tmp_path / "kadis"), "degradation")
    assert "one number per picture" in str(MetricSystem("NIQE", baseline_of("niqe"), None, "cpu").refusal(kadis))


def test_rows_with_a_reference_are_measured_against_it(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    reference = make.grey(tmp_path / "d" / "r.png", 200)
    rows = []
    for level, more in ((100, {"reference": reference}), (150, {"reference": reference}), (170, {})):
        images = {"image": make.grey(tmp_path / "d" / f"{level}.png", level), **more}
        rows.append(Sample(str(level), "score", "test", "csiq", images, {"rating": 3.0}))
    write_dataset(tmp_path / "d", rows, {"name": "csiq"})
    said = MetricSystem("PSNR", baseline_of("psnr"), None, "cpu").answers(
        load(tmp_path / "d", "score"), answer_settings
    )
    assert [round(answer.fields["rating"], 2) for answer in said[:2]] == [
        round(20 * math.log10(255 / 100), 2),
        round(20 * math.log10(255 / 50), 2),
    ]
    assert said[2].error == "it has no reference"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the worker's `import pyiqa` find STAND_IN."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyiqa.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.mark.usefixtures("stand_in")
def test_the_worker_measures_turns_around_and_survives_a_bad_picture(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    folder = make.scores(tmp_path / "koniq", "koniq", 4)
    make.grey(folder / "images" / "02.png", 100, 33)
    dataset = load(folder, "score")
    metric = MetricSystem("Dark", baseline_of("dark"), sys.executable, "cpu")
    try:
        said = metric.answers(dataset, answer_settings)
    finally:
        metric.close()
    # The stand-in gives 255 - level and calls it lower better: higher ratings are brighter.
    assert [answer.fields.get("rating") for answer in said] == [20 - 255, 92 - 255, None, 235 - 255]
    assert said[2].error == "ValueError: absurd image"
    assert metric.facts()["pyiqa"] == "0.0"


@pytest.mark.usefixtures("stand_in")
def test_what_is_in_the_journal_is_not_measured_again(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings
) -> None:
    dataset = load(make.scores(tmp_path / "koniq", "koniq", 4), "score")
    for _ in range(2):
        metric = MetricSystem("Dark", baseline_of("dark"), sys.executable, "cpu")
        assert len(metric.answers(dataset, answer_settings)) == 4
        metric.close()
    (journal,) = (answer_settings.folder / "journals").iterdir()
    assert len(journal.read_text().splitlines()) == 5


@pytest.mark.usefixtures("stand_in")
def test_a_metric_that_pyiqa_has_not_is_one_line(make: Any, tmp_path: Path, answer_settings: AnswerSettings) -> None:
    dataset = load(make.scores(tmp_path / "koniq", "koniq", 4), "score")
    with pytest.raises(QInsightError, match=r"unknown through pyiqa under .* cannot run: KeyError: 'no such metric'"):
        MetricSystem("x", baseline_of("unknown"), sys.executable, "cpu").answers(dataset, answer_settings)
    with pytest.raises(QInsightError, match="--baselines-python /nowhere/python cannot be run"):
        MetricSystem("x", baseline_of("niqe"), "/nowhere/python", "cpu").answers(dataset, answer_settings)


def test_without_pyiqa_the_way_out_is_named(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, monkeypatch: Any
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyiqa.py").write_text("raise ModuleNotFoundError(\"No module named 'pyiqa'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    dataset = load(make.scores(tmp_path / "koniq", "koniq", 4), "score")
    with pytest.raises(QInsightError, match="--baselines-python"):
        MetricSystem("NIQE", baseline_of("niqe"), None, "cpu").answers(dataset, answer_settings)


@pytest.mark.parametrize(("name", "tolerance"), [("psnr", 1e-3), ("ssim", 1e-3)])
def test_the_real_pyiqa_agrees_with_what_is_computed_here(pair: tuple[Path, Path], name: str, tolerance: float) -> None:
    """Runs metrics without weights in the environment that QINSIGHT_BASELINES_PYTHON names."""
    python = os.environ.get("QINSIGHT_BASELINES_PYTHON")
    if not python:
        pytest.skip("QINSIGHT_BASELINES_PYTHON names no interpreter with pyiqa")
    from qinsight_cli.core.bench.systems.metric import Worker

    worker = Worker(python, name, "cpu")
    try:
        assert worker.facts["reference"] is True
        assert worker.facts["lower_better"] is False
        assert worker.measure(*pair) == pytest.approx(psnr_ssim.METRICS[name](*pair), abs=tolerance)
    finally:
        worker.close()


def test_a_new_metric_is_one_line(
    make: Any, tmp_path: Path, answer_settings: AnswerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BASELINES", (*BASELINES, Baseline("TOPIQ", "topiq_fr", "KADID", reference=True)))
    assert baseline_of("topiq").name == "topiq_fr"  # a metric of pyiqa

    def mean_error(image: Path, reference: Path) -> float:
        first, second = (np.asarray(Image.open(path), dtype=np.float64) for path in (image, reference))
        return -float(np.abs(first - second).mean())

    monkeypatch.setitem(psnr_ssim.METRICS, "mean-error", mean_error)  # one of our own, higher better
    dataset = load(make.comparisons(tmp_path / "srbench", 1), "comparison")
    own = Baseline("Mean error", "mean-error", reference=True)
    monkeypatch.setattr(metrics, "BASELINES", (*BASELINES, own))
    said = MetricSystem("Mean error", baseline_of("mean error"), None, "cpu").answers(dataset, answer_settings)
    assert [answer.fields["winner"] for answer in said] == [sample.truth["winner"] for sample in dataset.samples]
