"""How good a model is on prepared datasets it was not trained on: python benchmarks/quality.py --help

Prints, for the test split of each dataset: PLCC and SRCC of ratings; class and level accuracy; accuracy of
comparisons; and how often a clean photo is rated above its severity-5 versions. Intervals are bootstrap 95 %.
Answers that cannot be read count as wrong, and pairs with one as not ranked; the last line is the same as JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qinsight_cli.core import metrics
from qinsight_cli.core.data.manifest import Sample, read_split
from qinsight_cli.core.engines import Decoding, Engine
from qinsight_cli.core.engines.local import load_engine
from qinsight_cli.core.inference.assess import Result, assess
from qinsight_cli.core.report.progress import progress_bar
from qinsight_cli.core.tasks import TASKS, ParseFailure
from qinsight_cli.core.tasks.base import known_part


def main(
    data: Annotated[list[Path], typer.Option(help="A prepared dataset; repeatable.")],
    model: str = "tiny",
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    split: str = "test",
    limit: Annotated[int | None, typer.Option(help="Rows a task, drawn with the seed.")] = None,
    batch_size: int = 16,
    temperature: Annotated[float, typer.Option(help="0 is greedy; 1 draws answers as GRPO's rollouts are.")] = 0.0,
    seed: int = 0,
) -> None:
    engine = load_engine(model)
    decoding = Decoding(max_new_tokens=160, temperature=temperature)
    figures: dict[str, Any] = {"model": model, "split": split, "temperature": temperature}
    for folder in data:
        samples = read_split(folder, split)
        for name in task or TASKS:
            rows = _draw([sample for sample in samples if sample.task == name], limit, seed)
            if rows:
                results = _answer(rows, engine, decoding, batch_size, seed)
                figures[f"{folder.name}/{name}"] = MEASURES[name](rows, results)
    for name, values in figures.items():
        if isinstance(values, dict):
            print(name)
            for key, value in values.items():
                print(f"  {key:28} {value}")
    print(json.dumps(figures))


def _draw(rows: list[Sample], limit: int | None, seed: int) -> list[Sample]:
    if limit is None or len(rows) <= limit:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
    return [rows[index] for index in sorted(chosen)]


def _answer(rows: list[Sample], engine: Engine, decoding: Decoding, batch_size: int, seed: int) -> list[Any]:
    """The answer of each row, or a ParseFailure or error text."""
    task = TASKS[rows[0].task]
    items = [{role: str(path) for role, path in row.images.items()} for row in rows]
    answers = []
    with progress_bar("images", len(rows)) as advance:
        for result in assess(task, items, engine, decoding, batch_size=batch_size, seed=seed):
            answers.append(_first(result))
            advance()
    return answers


def _first(result: Result) -> Any:
    return result.answers[0] if result.answers else result.error


def _read(answers: Sequence[Any]) -> list[bool]:
    return [not isinstance(answer, ParseFailure | str) for answer in answers]


def score(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    kept = [index for index, good in enumerate(_read(answers)) if good]
    predicted = np.array([answers[index].rating for index in kept])
    truth = np.array([rows[index].truth["rating"] for index in kept])
    figures: dict[str, Any] = {"images": len(rows), "unread": len(rows) - len(kept)}
    for name, statistic in (("PLCC", metrics.plcc), ("SRCC", metrics.srcc)):
        low, high = metrics.interval(lambda picked, s=statistic: s(predicted[picked], truth[picked]), len(kept))
        figures[name] = round(statistic(predicted, truth), 3)
        figures[f"{name} interval"] = [round(low, 3), round(high, 3)]
    figures["within 0.35"] = round(float((np.abs(predicted - truth) < 0.35).sum() / len(rows)), 3)
    figures["different ratings"] = len(set(predicted.tolist()))
    return figures | _clean_above_worst(rows, answers)


def _clean_above_worst(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    """Over every (clean photo, its severity-5 version): how often the clean one is rated higher."""
    clean: dict[str, float | None] = {}
    worst: dict[str, list[float | None]] = defaultdict(list)
    for row, answer, good in zip(rows, answers, _read(answers), strict=True):
        rating = answer.rating if good else None
        if row.extra.get("generator") == "none":
            clean[row.extra["content"]] = rating
        elif row.id.endswith("-catastrophic"):
            worst[row.extra["content"]].append(rating)
    pairs = [(best, other) for content, best in clean.items() for other in worst[content]]
    if not pairs:
        return {}
    higher = sum(best is not None and other is not None and best > other for best, other in pairs)
    return {"clean above severity 5": round(higher / len(pairs), 3), "pairs": len(pairs)}


def degradation(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    classes: dict[str, list[bool]] = defaultdict(list)
    levels: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        name, said = row.truth["distortion"], known_part(answer)
        right = said is not None and said.distortion == name
        classes[name].append(right)
        # r_lev of Eq. 5 asks for class and level, and Table 2 averages levels without null.
        if name != "null":
            levels[name].append(right and said.severity == row.truth["severity"])
    return {
        "images": len(rows),
        "unread": _read(answers).count(False),
        "class accuracy, macro": round(metrics.balanced_accuracy(classes), 3),
        "level accuracy, macro": round(metrics.balanced_accuracy(levels), 3),
        "class": _shares(classes),
        "level": _shares(levels),
    }


def _shares(groups: dict[str, list[bool]]) -> dict[str, float]:
    return {name: round(float(np.mean(group)), 3) for name, group in groups.items()}


def comparison(rows: list[Sample], answers: list[Any]) -> dict[str, Any]:
    good = _read(answers)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for row, answer, ok in zip(rows, answers, good, strict=True):
        kind = "with reference" if "reference" in row.images else "without reference"
        kinds[kind].append(ok and answer.winner == row.truth["winner"])
    return {"pairs": len(rows), "unread": good.count(False), **_shares(kinds)}


MEASURES = {"score": score, "degradation": degradation, "comparison": comparison}

if __name__ == "__main__":
    typer.run(main)
