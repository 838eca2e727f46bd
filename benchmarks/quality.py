"""The quality of a model on prepared datasets that it was not trained on: python benchmarks/quality.py --help

Prints these figures for the test split of each dataset and each task, with 95 % bootstrap intervals:

score        PLCC and SRCC of the rating as `qinsight score` prints it; the number of different ratings; how often a
             clean photo is rated above its severity-5 versions, and each severity below the one before (rows of one
             photo under one generator)
degradation  accuracy of class and of severity, each the mean over its classes
comparison   accuracy with and without a reference; how often both orders agree; how often the answer agrees with the
             two ratings of `score`

and for every task the number of unreadable answers, the share of statements in the reasoning that are true of the
pixels, and rows a second. Unreadable answers count as wrong. The last line is the same as JSON.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qinsight_cli.core import metrics
from qinsight_cli.core.data.manifest import Sample, read_split
from qinsight_cli.core.data.reasoning import check_statements, measure_image
from qinsight_cli.core.engines import Decoding, Engine
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.images import load_image
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.report.progress import progress_bar
from qinsight_cli.core.tasks import TASKS, ParseFailure
from qinsight_cli.core.tasks.base import known_part
from qinsight_cli.core.tasks.comparison import MIRRORED
from qinsight_cli.core.tasks.degradation import NULL, SEVERITIES


@dataclass(frozen=True)
class Judge:
    """A model with its decoding settings."""

    engine: Engine
    decoding: Decoding
    batch_size: int
    seed: int

    def answers(self, task: str, items: Sequence[dict[str, str]]) -> list[Any]:
        """The answer to each question, or a ParseFailure or error text."""
        answers = []
        with progress_bar(task, len(items)) as advance:
            for result in assess(
                TASKS[task], items, self.engine, self.decoding, batch_size=self.batch_size, seed=self.seed
            ):
                answers.append(result.answers[0] if result.answers else result.error)
                advance()
        return answers


def main(
    data: Annotated[list[Path], typer.Option(help="A prepared dataset; repeatable.")],
    model: str = "tiny",
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    split: str = "test",
    limit: Annotated[int | None, typer.Option(help="Rows a task, drawn with the seed.")] = None,
    batch_size: int = 8,
    temperature: Annotated[float, typer.Option(help="0 is greedy; 1 draws answers as GRPO's rollouts are.")] = 0.0,
    rating: Annotated[str, typer.Option(help="expected, as score prints it, or answer, the number as written.")] = (
        "expected"
    ),
    mode: Annotated[str, typer.Option(help="reasoned or direct.")] = "reasoned",
    seed: int = 0,
) -> None:
    decoding = Decoding(max_new_tokens=160, temperature=temperature, rating=rating, mode=mode)
    judge = Judge(load_engine(model), decoding, batch_size, seed)
    figures: dict[str, Any] = {"model": model, "split": split, "temperature": temperature}
    figures |= {"rating": rating, "mode": mode}
    for folder in data:
        samples = read_split(folder, split)
        for name in task or TASKS:
            rows = draw([sample for sample in samples if sample.task == name], limit, seed)
            if rows:
                figures[f"{folder.name}/{name}"] = measure(name, rows, judge)
    for name, values in figures.items():
        if isinstance(values, dict):
            print(name)
            for key, value in values.items():
                print(f"  {key:34} {value}")
    print(json.dumps(figures))


def draw(rows: list[Sample], limit: int | None, seed: int) -> list[Sample]:
    if limit is None or len(rows) <= limit:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
    return [rows[index] for index in sorted(chosen)]


def measure(task: str, rows: list[Sample], judge: Judge) -> dict[str, Any]:
    start = time.perf_counter()
    answers = judge.answers(task, [paths(row) for row in rows])
    seconds = time.perf_counter() - start
    figures = {"rows": len(rows), "unread": sum(not was_read(answer) for answer in answers)}
    figures |= MEASURES[task](rows, answers, judge)
    if judge.decoding.mode == "reasoned":
        figures |= statements(rows, answers)
    return figures | {"rows a second": round(len(rows) / seconds, 1)}


def paths(row: Sample) -> dict[str, str]:
    return {role: str(path) for role, path in row.images.items()}


def was_read(answer: Any) -> bool:
    return not isinstance(answer, ParseFailure | str)


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """The share of hits, its interval, and the number of values."""
    values = np.array(hits, dtype=float)
    low, high = metrics.interval(lambda picked: float(values[picked].mean()), len(values))
    return {"share": round(float(values.mean()), 3), "interval": [round(low, 3), round(high, 3)], "of": len(values)}


# score


def score(rows: list[Sample], answers: list[Any], judge: Judge) -> dict[str, Any]:
    kept = [index for index, answer in enumerate(answers) if was_read(answer)]
    predicted = np.array([answers[index].rating for index in kept])
    truth = np.array([rows[index].truth["rating"] for index in kept])
    figures: dict[str, Any] = {}
    for name, statistic in (("PLCC", metrics.plcc), ("SRCC", metrics.srcc)):
        low, high = metrics.interval(lambda picked, s=statistic: s(predicted[picked], truth[picked]), len(kept))
        figures[name] = {
            "value": round(statistic(predicted, truth), 3),
            "interval": [round(low, 3), round(high, 3)],
        }
    figures["within 0.35"] = round(float((np.abs(predicted - truth) < 0.35).sum() / len(rows)), 3)
    figures["different ratings"] = len({round(value, 3) for value in predicted.tolist()})
    return figures | severity_order(rows, answers)


def severity_order(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    """Clean photos compared with their severity-5 versions, and each severity with the one before."""
    by_photo: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for row, answer in zip(rows, answers, strict=True):
        severity = row.id.rsplit("-", 1)[-1]
        generator = row.extra.get("generator")
        if generator is not None:
            level = SEVERITIES.index(severity) + 1 if severity in SEVERITIES else 0
            rating = answer.rating if was_read(answer) else float("nan")
            by_photo[row.extra["content"]][generator if level else "none", level] = rating
    worst, neighbours = [], []
    for ratings in by_photo.values():
        clean = ratings.get(("none", 0))
        worst += [clean > value for (_, level), value in ratings.items() if level == 5 and clean is not None]
        for (generator, level), value in ratings.items():
            above = clean if level == 1 else ratings.get((generator, level - 1))
            if level and above is not None:
                neighbours.append(above > value)
    found = {"clean above severity 5": worst, "each severity below the one before": neighbours}
    return {name: share(hits) for name, hits in found.items() if hits}


# degradation


def degradation(rows: list[Sample], answers: list[Any], judge: Judge) -> dict[str, Any]:
    classes: dict[str, list[bool]] = defaultdict(list)
    levels: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        name, said = row.truth["distortion"], known_part(answer)
        right = said is not None and said.distortion == name
        classes[name].append(right)
        # r_lev of Eq. 5 asks for class and level, and Table 2 averages levels without null.
        if name != NULL:
            levels[name].append(right and said.severity == row.truth["severity"])
    return {
        name: {
            "macro": round(metrics.balanced_accuracy(groups), 3),
            "interval": [round(end, 3) for end in metrics.mean_interval(list(groups.values()))],
            **{key: round(float(np.mean(group)), 3) for key, group in groups.items()},
        }
        for name, groups in (("class accuracy", classes), ("level accuracy", levels))
        if groups
    }


# comparison


def comparison(rows: list[Sample], answers: list[Any], judge: Judge) -> dict[str, Any]:
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        kind = "with reference" if "reference" in row.images else "without reference"
        kind = "similar" if row.truth["winner"] == "Similar" else kind
        hits[kind].append(was_read(answer) and answer.winner == row.truth["winner"])
    swapped = [
        {**paths(row), "image_a": str(row.images["image_b"]), "image_b": str(row.images["image_a"])} for row in rows
    ]
    for answer, again in zip(answers, judge.answers("comparison", swapped), strict=True):
        hits["both orders agree"].append(
            was_read(answer) and was_read(again) and MIRRORED[answer.winner] == again.winner
        )
    hits["agrees with score"] = agreement_with_score(rows, answers, judge)
    return {name: share(values) for name, values in hits.items() if values}


def agreement_with_score(rows: list[Sample], answers: list[Any], judge: Judge) -> list[bool]:
    """For pairs without a reference: whether the winner is the picture that `score` rates higher."""
    pairs = [(row, answer) for row, answer in zip(rows, answers, strict=True) if "reference" not in row.images]
    ratings = judge.answers("score", [{"image": str(row.images[role])} for row, _ in pairs for role in row.images])
    found = []
    for index, (_, answer) in enumerate(pairs):
        first, second = ratings[2 * index : 2 * index + 2]
        readable = was_read(answer) and was_read(first) and was_read(second)
        found.append(readable and answer.winner == ("Image A" if first.rating > second.rating else "Image B"))
    return found


# reasoning


def statements(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    """The share of statements on light, contrast, colour and detail that are true of the pixels, and the number of
    answers whose class or severity differs from their own reasoning."""
    right = total = contradictions = 0
    for row, answer in zip(rows, answers, strict=True):
        if not was_read(answer):
            continue
        for role, said in reasoning_by_role(row, answer.reasoning).items():
            counted = check_statements(said, measure_image(load_image(row.images[role]).image))
            right, total = right + counted[0], total + counted[1]
        if row.task == "degradation":
            contradictions += contradicts(answer)
    figures: dict[str, Any] = {}
    if total:
        figures["true statements"] = {"share": round(right / total, 3), "of": total}
    if rows[0].task == "degradation":
        figures["reasoning contradicts the answer"] = contradictions
    return figures


def reasoning_by_role(row: Sample, reasoning: str) -> dict[str, str]:
    if "image_a" not in row.images:
        return {"image": reasoning}
    first, _, second = reasoning.partition("Image B")
    return {"image_a": first, "image_b": second}


def contradicts(answer: Any) -> bool:
    nouns = {"darken": "darkening"}
    if answer.distortion == NULL:
        return any(severity in answer.reasoning.split() for severity in SEVERITIES)
    return f"{answer.severity} {nouns.get(answer.distortion, answer.distortion)}" not in answer.reasoning


Measure = Callable[[list[Sample], list[Any], Judge], dict[str, Any]]
MEASURES: dict[str, Measure] = {"score": score, "degradation": degradation, "comparison": comparison}

if __name__ == "__main__":
    typer.run(main)
