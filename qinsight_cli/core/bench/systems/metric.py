"""Metrics as systems of the bench: PSNR and SSIM in this process, the others through pyiqa.

pyiqa installs torchvision, which can break transformers on a CPU build of torch. So pyiqa runs in another process,
whose interpreter may belong to another environment (`--baselines-python`).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems import psnr_ssim
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer
from qinsight_cli.core.bench.systems.predictions import winners
from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.readers.srbench import ORIGINAL
from qinsight_cli.core.errors import ImageError, QInsightError, UsageError
from qinsight_cli.core.images import read_image
from qinsight_cli.core.inference.journal import Journal
from qinsight_cli.core.tasks import TASKS

WORKER = Path(__file__).with_name("pyiqa_worker.py")
JOURNAL_EVERY = 16  # pictures between two writes to the journal
KONIQ = "KonIQ"
VALUE = "value"  # the field of a metric's value for a picture, higher better, before it becomes an answer


@dataclass(frozen=True)
class Baseline:
    """A metric of the paper: its row, its name in pyiqa, its training data ("" for none), whether it needs a
    reference."""

    row: str
    name: str
    trained_on: str = ""
    reference: bool = False


# Training sets are those of pyiqa's weights; the paper trains all deep methods of Table 1 on KonIQ.
BASELINES = (
    Baseline("NIQE", "niqe"),
    Baseline("BRISQUE", "brisque"),
    Baseline("NIMA", "nima-koniq", KONIQ),
    Baseline("MUSIQ", "musiq", KONIQ),
    Baseline("CLIP-IQA+", "clipiqa+", KONIQ),
    Baseline("ManIQA", "maniqa", KONIQ),
    Baseline("C2Score", "compare2score", "several datasets, KonIQ among them"),
    Baseline("Q-Align", "qalign", "several datasets (one-align), KonIQ among them"),
    Baseline("PSNR", "psnr", reference=True),
    Baseline("SSIM", "ssim", reference=True),
    Baseline("LPIPS", "lpips", "human judgements of patches (BAPPS)", reference=True),
    Baseline("A-FINE", "afine_fr", "DiffIQA, TID2013, KADID and PIPAL", reference=True),
)


def baseline_of(name: str) -> Baseline:
    """A baseline by its row or its pyiqa name. Any other name goes to pyiqa.

    Raises UsageError for a likely typo, or a name that no metric can have.
    """
    by_name = {word.lower(): each for each in BASELINES for word in (each.row, each.name)}
    known = by_name.get(name.lower())
    if known is not None:
        return known
    near = get_close_matches(name.lower(), by_name, n=1, cutoff=0.8)
    if near and not name.lower().startswith(tuple(near[0] + sign for sign in "-_+")):
        raise UsageError(f"no metric {name!r}; did you mean {near[0]}?")
    if not name or not all(letter.isalnum() or letter in "-_+" for letter in name):
        names = ", ".join(each.name for each in BASELINES)
        raise UsageError(f"--metric {name!r} is not a metric's name; the paper's are {names}")
    return Baseline(name, name, trained_on="what pyiqa documents")


class MetricSystem:
    """One metric. `python` is the interpreter that has pyiqa; PSNR and SSIM run in this one."""

    def __init__(self, label: str, baseline: Baseline, python: str | None, device: str) -> None:
        self.label, self.baseline = label, baseline
        self.note = ""
        if baseline.trained_on not in ("", KONIQ) and not baseline.reference:
            self.note = f"{label}: the weights were trained on {baseline.trained_on}, not on KonIQ alone."
        elif baseline.reference:
            self.note = f"{label}: against the reference of each picture, on SRIQA-Bench the content's Original."
        self.python, self.device = python or sys.executable, device
        self._worker: Worker | None = None
        self._identity: Mapping[str, Any] = {}

    @property
    def here(self) -> bool:
        return self.baseline.name in psnr_ssim.METRICS

    def refusal(self, dataset: Dataset) -> str | None:
        task = TASKS[dataset.task]
        if not (task.number or task.rated):
            return f"{self.label} gives one number per picture; {dataset.key} needs {' and '.join(task.columns)}"
        originals = _originals(dataset.samples)
        if self.baseline.reference and all(_reference(sample, originals) is None for sample in dataset.samples):
            return f"{self.label} needs references, and {dataset.key} has none"
        return None

    def answers(self, dataset: Dataset, settings: AnswerSettings) -> list[RowAnswer]:
        task = TASKS[dataset.task]
        if task.number:
            questions = [(sample.images[task.roles[0]], _reference(sample)) for sample in dataset.samples]
            return [
                RowAnswer({task.number: answer.fields[VALUE]}) if answer.error is None else answer
                for answer in self._measure(questions, dataset, settings)
            ]
        originals = _originals(dataset.samples)
        questions = [
            (sample.images[role], _reference(sample, originals)) for sample in dataset.samples for role in task.roles
        ]
        unique = list(dict.fromkeys(questions))
        answers = dict(zip(unique, self._measure(unique, dataset, settings), strict=True))
        return winners(task, [(answers[a], answers[b]) for a, b in zip(questions[::2], questions[1::2], strict=True)])

    def _measure(
        self, questions: Sequence[tuple[Path, Path | None]], dataset: Dataset, settings: AnswerSettings
    ) -> list[RowAnswer]:
        """The metric of each (picture, reference), higher better. Values in the journal are reused."""
        if self.here:
            self._identity = {"metric": self.baseline.name, "through": "scikit-image"}
        elif self._worker is None:
            self._worker = Worker(self.python, self.baseline.name, self.device)
            self._identity = {"metric": self.baseline.name, **self._worker.facts}
        answers = []
        with (
            Journal(settings.journal(self.label, dataset, "metric"), self._identity, settings.restart) as journal,
            settings.progress(f"{self.label} on {dataset.key}", len(questions)) as advance,
        ):
            for start in range(0, len(questions), JOURNAL_EVERY):
                fresh: dict[str, dict[str, Any]] = {}
                for image, reference in questions[start : start + JOURNAL_EVERY]:
                    answers.append(self._one(image, reference, journal, fresh))
                    advance()
                if fresh:
                    journal.append(fresh)
        return answers

    def _one(
        self, image: Path, reference: Path | None, journal: Journal, fresh: dict[str, dict[str, Any]]
    ) -> RowAnswer:
        if self.baseline.reference and reference is None:
            return RowAnswer(error="it has no reference")
        chosen = reference if self.baseline.reference or self._wants_reference else None
        try:
            digests = [read_image(path)[1] for path in (image, chosen) if path is not None]
            key = "|".join(digests)
            if key not in journal and key not in fresh:
                fresh[key] = {"value": self._value(image, chosen)}
            record = fresh[key] if key in fresh else journal[key]
        except ImageError as error:
            return RowAnswer(error=str(error))
        if math.isnan(record["value"]):
            return RowAnswer(error="the metric is not a number")
        return RowAnswer({VALUE: -record["value"] if self._lower_better else record["value"]})

    @property
    def _wants_reference(self) -> bool:
        return self._worker is not None and bool(self._worker.facts["reference"])

    @property
    def _lower_better(self) -> bool:
        return self._worker is not None and bool(self._worker.facts["lower_better"])

    def _value(self, image: Path, reference: Path | None) -> float:
        if self.here:
            assert reference is not None
            return psnr_ssim.METRICS[self.baseline.name](image, reference)
        assert self._worker is not None
        return self._worker.measure(image, reference)

    def facts(self) -> dict[str, Any]:
        return {"kind": "metric", "trained_on": self.baseline.trained_on, **self._identity}

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _reference(sample: Sample, originals: Mapping[str, Path] | None = None) -> Path | None:
    """The reference of a row's pictures. On SRIQA-Bench it is the content's Original, as in A-FINE's own code, because
    the low-resolution reference of the comparison task has another size."""
    original = (originals or {}).get(str(sample.extra.get("content")))
    return original or sample.images.get("reference")


def _originals(samples: Sequence[Sample]) -> dict[str, Path]:
    """Content -> its original picture."""
    found: dict[str, Path] = {}
    for sample in samples:
        for method, role in zip(sample.extra.get("methods", ()), ("image_a", "image_b"), strict=False):
            if method == ORIGINAL:
                found[str(sample.extra.get("content"))] = sample.images[role]
    return found


class Worker:
    """The process that runs one pyiqa metric. `facts`: lower_better, reference, versions."""

    def __init__(self, python: str, metric: str, device: str) -> None:
        """Raises QInsightError if the interpreter, its pyiqa or the metric is not available."""
        try:
            self._process = subprocess.Popen(
                [python, str(WORKER), metric, device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise QInsightError(f"--baselines-python {python} cannot be run: {error.strerror or error}") from None
        self._what = f"{metric} through pyiqa under {python}"
        try:
            self.facts = self._answer()
            self.facts.pop("ready", None)
        except BaseException:
            self.close()
            raise
        if "error" in self.facts:
            self.close()
            raise QInsightError(f"{self._what} cannot run: {self.facts['error']}{_hint(self.facts['error'])}")

    def measure(self, image: Path, reference: Path | None) -> float:
        """Raises ImageError if the metric fails on this picture, QInsightError if the process has ended."""
        assert self._process.stdin is not None
        request = {"image": str(image.resolve()), "reference": str(reference.resolve()) if reference else None}
        with suppress(BrokenPipeError):  # `_answer` reports it
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise ImageError(str(answer["error"]))
        return float(answer["value"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return dict(json.loads(line))
        except ValueError:
            raise QInsightError(f"{self._what}: the process ended without an answer") from None

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _hint(error: str) -> str:
    if "No module named" in error:
        return "; install the extra in a separate environment and name its interpreter with --baselines-python"
    if "URLError" in error or "HTTPError" in error:
        return "; pyiqa downloads the weights of this metric at first use: run it once with a network"
    return ""
