"""Answers of other systems from a CSV: a picture's `rating`, its `distortion,severity`, or the `winner` of a pair.

A row may name its picture (`path`, or `image_a,image_b`) by any path: absolute or relative to any folder, with either
separator, in any case. The longest tail of the path that only one picture of the dataset has identifies it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.bench.systems.base import AnswerSettings, RowAnswer
from qinsight_cli.core.csv_text import unguarded
from qinsight_cli.core.data.names import exact_parts, path_parts
from qinsight_cli.core.data.table_files import read_table
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import unescaped
from qinsight_cli.core.tasks import TASKS, ParseFailure, Task

MISSING = "no prediction for it"

Row = Mapping[str, str]
Parts = tuple[str, ...]  # the names in a path, from `parts_of`, which identify a picture


class PredictionsFile:
    """One predictions file.

    matched   how many datasets it has answered
    mismatch  why it has answered none
    """

    def __init__(self, label: str, path: Path) -> None:
        """Raises QInsightError if the file cannot be read."""
        self.label, self.path, self.note = label, path, ""
        self._columns, self._rows = _read(path)
        self.matched = 0
        self.mismatch = ""
        self._pictures: dict[str, ImageMatcher] = {}

    def refusal(self, dataset: Dataset) -> str | None:
        if self._layout(dataset.task):
            return None
        wanted = " or ".join(",".join(columns) for columns in _layouts(TASKS[dataset.task]))
        return f"{self.path} has the columns {','.join(self._columns)}; {dataset.task} needs {wanted}"

    def learn(self, datasets: Sequence[Dataset]) -> None:
        """Learn the pictures of all datasets of the run, so that a name of pictures in two of them is refused."""
        for task in {dataset.task for dataset in datasets}:
            rows = [sample for dataset in datasets if dataset.task == task for sample in dataset.samples]
            self._pictures[task] = ImageMatcher([path for row in rows for path in row.images.values()])

    def _layout(self, task: str) -> tuple[str, ...]:
        return next((layout for layout in _layouts(TASKS[task]) if set(layout) <= set(self._columns)), ())

    def answers(self, dataset: Dataset, settings: AnswerSettings) -> list[RowAnswer]:
        """One answer for each row of the dataset; none at all if the file is about other pictures."""
        layout = self._layout(dataset.task)
        if dataset.task not in self._pictures:
            self.learn([dataset])
        pictures = self._pictures[dataset.task]
        task = TASKS[dataset.task]
        if layout != _layouts(task)[0]:
            answers = self._by_rating(task, dataset, pictures)
        elif len(task.image_columns) == 2:
            answers = self._pairs(task, dataset, pictures)
        else:
            answers = self._single(task, dataset, pictures)
        if all(answer.error == MISSING for answer in answers):
            self.mismatch = self.mismatch or self._mismatch(dataset)
            return []
        self.matched += 1
        if self.matched == 1:
            self._report(dataset, pictures, settings)
        return answers

    def _report(self, dataset: Dataset, pictures: ImageMatcher, settings: AnswerSettings) -> None:
        """Tell the user how the rows were matched."""
        unknown = pictures.unknown
        if unknown and dataset.total == len(dataset.samples):
            of = f"{len(unknown)} of {len(self._rows)} rows name no picture"
            settings.say(f"{self.path}: {of} of the datasets, the first {next(iter(unknown))!r}")
        if pictures.by_name:
            settings.say(f"{self.path}: {len(pictures.by_name)} rows are matched by file name alone, not by folder")

    def _mismatch(self, dataset: Dataset) -> str:
        own = self._rows[0].get("path") or self._rows[0].get("image_a", "")
        first = next(iter(dataset.samples[0].images.values()))
        return (
            f"{self.path} is about other pictures than {dataset.key}: none of its {len(self._rows)} rows names one "
            f"(its first is {own!r}, the dataset's {first.name!r})"
        )

    def _single(self, task: Task, dataset: Dataset, pictures: ImageMatcher) -> list[RowAnswer]:
        ((column, role),) = task.image_columns.items()
        found = self._by_image(task, column, pictures)
        return [found.get(parts_of(sample.images[role]), RowAnswer(error=MISSING)) for sample in dataset.samples]

    def _by_rating(self, task: Task, dataset: Dataset, pictures: ImageMatcher) -> list[RowAnswer]:
        found = self._by_image(rating_task(), "path", pictures)
        roles = task.image_columns.values()
        sides = [[found.get(parts_of(sample.images[role])) for role in roles] for sample in dataset.samples]
        return winners(task, [(first, second) for first, second in sides])

    def _by_image(self, task: Task, column: str, pictures: ImageMatcher) -> dict[Parts, RowAnswer]:
        found: dict[Parts, RowAnswer] = {}
        for row in self._rows:
            picture = pictures.find(row[column])
            if picture is not None:
                self._once(found, picture, answer_of(task, row), row[column])
        return found

    def _pairs(self, task: Task, dataset: Dataset, pictures: ImageMatcher) -> list[RowAnswer]:
        found: dict[tuple[Parts, Parts], RowAnswer] = {}
        one, other = task.image_columns
        for row in self._rows:
            first, second = pictures.find(row[one]), pictures.find(row[other])
            if first is not None and second is not None:
                self._once(found, (first, second), answer_of(task, row), f"{row[one]} and {row[other]}")
        roles = task.image_columns.values()
        sides = [[parts_of(sample.images[role]) for role in roles] for sample in dataset.samples]
        return [_in_order(task, found, first, second) for first, second in sides]

    def _once(self, found: dict[Any, RowAnswer], key: Any, answer: RowAnswer, name: str) -> None:
        if key in found and found[key] != answer:
            raise QInsightError(f"{self.path} has two different answers for {name}; remove one row")
        found[key] = answer

    def facts(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"kind": "predictions", "file": str(self.path), "rows": len(self._rows), "sha256": digest}

    def close(self) -> None:
        """Nothing to close."""


class ImageMatcher:
    """Finds pictures by any tail of their paths, also without the extension. If two names differ only in case, Unicode
    normal form or spaces, the exact spelling counts.

    unknown  names that match no picture
    by_name  names with folders that match by file name alone
    Both are dicts to keep the order; the values are unused.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.unknown: dict[str, None] = {}
        self.by_name: dict[str, None] = {}
        self._by_tail: dict[Parts, set[Parts]] = {}
        for parts in dict.fromkeys(map(parts_of, paths)):
            loose = tuple(path_parts("/".join(parts)))
            for length in range(1, len(parts) + 1):
                self._by_tail.setdefault(loose[-length:], set()).add(parts)
                self._by_tail.setdefault(_without_extension(loose[-length:]), set()).add(parts)

    def find(self, name: str) -> Parts | None:
        """The one picture with the longest common tail. Raises QInsightError if there are several."""
        plain = unguarded(name)
        return self._find(name, plain) or (self._find(name, other) if (other := unescaped(plain)) != plain else None)

    def _find(self, name: str, plain: str) -> Parts | None:
        exact = parts_of(plain)
        parts = tuple(path_parts("/".join(exact)))
        for length in range(len(parts), 0, -1):
            found = self._by_tail.get(parts[-length:], set())
            if len(found) > 1:
                found = {path for path in found if path[-length:] == exact[-length:]} or found
            if len(found) > 1:
                raise QInsightError(
                    f"{name!r} names {len(found)} pictures of the datasets; write more of its path, or give one --data"
                )
            if found:
                if length == 1 < len(parts):
                    self.by_name[name] = None
                self.unknown.pop(name, None)
                return next(iter(found))
        self.unknown[name] = None
        return None


def _without_extension(parts: Parts) -> Parts:
    return (*parts[:-1], parts[-1].rpartition(".")[0] or parts[-1])


def parts_of(path: str | Path) -> Parts:
    """The names in a path, which identify a picture."""
    return tuple(exact_parts(str(path)))


def rating_task() -> Task:
    """The task whose answer is a rating. Two ratings also answer a comparison."""
    return next(task for task in TASKS.values() if task.number)


def _layouts(task: Task) -> list[tuple[str, ...]]:
    """The columns of a file that answers a task: the task's own, or ratings of the pictures of a pair."""
    rating = rating_task()
    of_ratings = [(*rating.image_columns, *rating.columns)] if task.rated else []
    return [(*task.image_columns, *task.columns), *of_ratings]


def winners(task: Task, rated: Sequence[tuple[RowAnswer | None, RowAnswer | None]]) -> list[RowAnswer]:
    """The ratings of both pictures of each pair -> the answers to a comparison."""
    return [
        _better(task, first or RowAnswer(error=MISSING), second or RowAnswer(error=MISSING)) for first, second in rated
    ]


def _better(task: Task, first: RowAnswer, second: RowAnswer) -> RowAnswer:
    error = first.error or second.error
    if error is not None:
        return RowAnswer(error=error)
    assert task.rated is not None
    (a,), (b,) = first.fields.values(), second.fields.values()
    return RowAnswer(task.rated(a, b))


def _in_order(task: Task, found: Mapping[tuple[Parts, Parts], RowAnswer], first: Parts, second: Parts) -> RowAnswer:
    """The answer to the pair (first, second), or the swapped answer to (second, first)."""
    answer = found.get((first, second))
    if answer is None and task.swapped is not None and (second, first) in found:
        answer = found[second, first]
        if answer.error is None:
            answer = RowAnswer(task.swapped(answer.fields))
    return answer or RowAnswer(error=MISSING)


def answer_of(task: Task, row: Row) -> RowAnswer:
    """One row of text -> its answer. Empty cells are no answer; the row's own `error`, if any, says why."""
    found = task.read(row)
    if not isinstance(found, ParseFailure):
        return RowAnswer(found)
    empty = not any(row[column] for column in task.columns)
    return RowAnswer(task.kept_fields(found), row.get("error") or ("no answer" if empty else found.detail))


def _read(path: Path) -> tuple[list[str], list[Row]]:
    table = read_table(path)
    known = dict.fromkeys(name for task in TASKS.values() for layout in _layouts(task) for name in (*layout, "error"))
    pictures = [name for task in TASKS.values() for name in task.image_columns]
    rows: list[Row] = [row for _, row in table.records([name for name in known if name not in pictures], pictures)]
    if not rows:
        raise QInsightError(f"{path} holds no predictions")
    return [*table.header, *(name for name in known if name in rows[0] and name not in table.header)], rows
