"""Results as CSV and JSON lines: for spreadsheets, for scripts, and the same bytes after an interruption.

A rating is written with two decimals, as the model gives it; a mean over samples and its standard deviation with three.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, BinaryIO

from qinsight_cli.core.files import write_atomically
from qinsight_cli.core.inference.aggregate import AggregatedAnswer, aggregate_answers
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.tasks import ParseFailure, Task
from qinsight_cli.core.tasks.comparison import MIRRORED

Row = dict[str, Any]  # column -> str, int, Decimal or None, and what only JSON lines show

AGREEMENT = "agreement"  # one more column for comparisons asked in both orders: "agree", "disagree" or empty

# A spreadsheet takes text that begins so for a formula.
_FORMULA = tuple("=+-@\t\r\0")


def row_of(task: Task, result: Result, model: str) -> Row:
    """One Result -> one row. What the model wrote is kept for the samples that could not be read."""
    aggregated = (
        aggregate_answers(task, result.answers) if result.error is None else AggregatedAnswer(error=result.error)
    )
    fields = {name: _number(value, len(result.answers)) for name, value in task.written(aggregated.fields).items()}
    known: Row = {**result.images, **{column: result.images.get(role) for column, role in task.image_columns.items()}}
    known |= {**fields, f"{task.number}_std": _number(aggregated.std, 2), "samples": aggregated.parsed}
    known |= {"reasoning": aggregated.reasoning, "error": aggregated.error}
    row: Row = {column: known.get(column) for column in task.row_columns}
    row["model"] = model
    row["prompt_tokens"] = result.completions[0].prompt_tokens if result.completions else 0
    row["completion_tokens"] = sum(completion.completion_tokens for completion in result.completions)
    if result.notes:
        row["notes"] = list(result.notes)
    unread = [c.text for c, a in zip(result.completions, result.answers, strict=True) if isinstance(a, ParseFailure)]
    if unread:
        row["unread"] = unread
    return row


def _number(value: Any, samples: int) -> Any:
    """A float as a decimal with the digits it is written with; anything else as it is."""
    return Decimal(f"{value:.{2 if samples == 1 else 3}f}") if isinstance(value, float) else value


def both_orders(given: Row, swapped: Row) -> Row:
    """The row of a pair asked as given and with its images swapped.

    The winner and reasoning are those of the order given; `agreement` says whether the swapped order names the same
    picture, and is empty, with an error, when either order could not be read.
    """
    row = dict(given)
    row[AGREEMENT] = None
    if given["error"] is None and swapped["error"] is None:
        row[AGREEMENT] = "agree" if MIRRORED[swapped["winner"]] == given["winner"] else "disagree"
    elif given["error"] is None:
        row["error"] = f"in swapped order: {swapped['error']}"
    return row


def csv_line(values: Iterable[Any]) -> bytes:
    """One line of UTF-8 CSV. Text that a spreadsheet would run as a formula gets a leading apostrophe, paths too."""
    buffer = io.StringIO()
    # The csv module quotes the characters of its line end: with "\r\n" a lone "\r" or "\n" in a name is quoted.
    csv.writer(buffer, lineterminator="\r\n").writerow([_cell(value) for value in values])
    return (buffer.getvalue()[:-2] + "\n").encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value)


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of UTF-8 JSON; decimals as numbers, missing values as null."""
    return (json.dumps(row, ensure_ascii=False, default=float) + "\n").encode("utf-8", "backslashreplace")


@contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """A file that appears whole at the end, or standard output for `-`."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with write_atomically(path) as file:
            yield file


@contextmanager
def writing(csv_path: str | None, jsonl_path: str | None, columns: Sequence[str]) -> Iterator[list[Any]]:
    """A list of functions that each write one row to one of the outputs asked for."""
    if csv_path is not None:
        with open_output(csv_path) as file, writing(None, jsonl_path, columns) as others:
            file.write(csv_line(columns))
            yield [lambda row: _write(file, csv_path, csv_line(row.get(column) for column in columns)), *others]
    elif jsonl_path is not None:
        with open_output(jsonl_path) as file:
            yield [lambda row: _write(file, jsonl_path, json_line(row))]
    else:
        yield []


def _write(file: BinaryIO, path: str, line: bytes) -> None:
    file.write(line)
    if path == "-":
        file.flush()  # a reader at the other end of a pipe sees each row at once
