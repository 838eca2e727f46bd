"""Results as CSV and JSON lines. A resumed run writes the same bytes as an uninterrupted one.

A rating has two decimals, as the model writes it; a mean over samples has three, an expected rating four. Standard
deviations and probabilities have three.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from qinsight_cli.core.csv_text import csv_line
from qinsight_cli.core.errors import OutputError
from qinsight_cli.core.files import write_atomically
from qinsight_cli.core.inference.aggregate import AggregatedAnswer, aggregate
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.report.tables import printable
from qinsight_cli.core.tasks import TASKS, ParseFailure, Task
from qinsight_cli.core.tasks.comparison import MIRRORED

Row = dict[str, Any]  # column -> str, int, Decimal or None, and more keys that only JSON lines show

BOM = b"\xef\xbb\xbf"
_BEGINNINGS = tuple(",".join(task.row_columns[:-3]).encode() + b"," for task in TASKS.values())  # of our CSV files
AGREEMENT = "agreement"  # a column for comparisons in both orders: "agree", "disagree" or empty


def columns_of(task: Task, direct: bool = False) -> tuple[str, ...]:
    """The columns of a table of rows. Direct answers have their probabilities in more columns."""
    columns = task.row_columns
    more = task.choices.columns if direct and task.choices else ()
    return (*columns[:-3], *more, *columns[-3:])


def row_of(task: Task, result: Result, model: str) -> Row:
    """One Result -> one row.

    `unread` keeps the texts of unreadable samples, `written` the number that each sample of an expected rating wrote.
    """
    aggregated = aggregate(task, result)
    digits = 4 if result.distributions else 2 if len(result.answers) == 1 else 3
    fields = {name: _number(value, digits) for name, value in task.written(aggregated.fields).items()}
    known: Row = {**result.images, **{column: result.images.get(role) for column, role in task.image_columns.items()}}
    known |= {**fields, f"{task.number}_std": _number(aggregated.std, 3), "samples": aggregated.parsed}
    verdict = task.verdict(aggregated.fields, aggregated.reasoning) if aggregated.error is None else None
    known |= {"verdict": verdict, "reasoning": aggregated.reasoning, "error": aggregated.error}
    row: Row = {column: known.get(column) for column in task.row_columns}
    row |= _from_probabilities(task, result, aggregated)
    row["model"] = model
    row["prompt_tokens"] = result.completions[0].prompt_tokens if result.completions else 0
    row["completion_tokens"] = sum(completion.completion_tokens for completion in result.completions)
    if result.notes:
        row["notes"] = list(result.notes)
    unread = [c.text for c, a in zip(result.completions, result.answers, strict=True) if isinstance(a, ParseFailure)]
    if unread:
        row["unread"] = unread
    return row


def _from_probabilities(task: Task, result: Result, aggregated: AggregatedAnswer) -> Row:
    """The extra values of an answer from probabilities: the written numbers, or the probabilities of direct words."""
    if not result.distributions or task.choices is None:
        return {}
    if any(completion.text for completion in result.completions):
        answers = [task.parse(completion.text) for completion in result.completions]
        return {
            "written": [None if isinstance(a, ParseFailure) else next(iter(task.fields(a).values())) for a in answers]
        }
    read = result.distributions[0] if aggregated.error is None else None
    return {name: _number(read[name], 3) if read else None for name in task.choices.columns}


def _number(value: Any, digits: int) -> Any:
    """A float -> a decimal with the digits to write; other values are unchanged."""
    return Decimal(f"{value:.{digits}f}") if isinstance(value, float) else value


def both_orders(given: Row, swapped: Row) -> Row:
    """The rows of a pair in the given and in the swapped order -> one row.

    The winner and reasoning are those of the given order. `agreement` says whether the swapped order has the same
    winner; it is empty, with an error, if either order has no answer.
    """
    row = dict(given)
    row[AGREEMENT] = None
    if given["error"] is None and swapped["error"] is None:
        row[AGREEMENT] = "agree" if MIRRORED[swapped["winner"]] == given["winner"] else "disagree"
    elif given["error"] is None:
        row["error"] = f"in swapped order: {swapped['error']}"
    return row


def is_output(head: bytes) -> bool:
    """Whether a file that starts with these bytes is an output of qinsight, which the next run may replace."""
    if not head:
        return True
    first, _, _ = head.partition(b"\n")
    if first.removeprefix(BOM).startswith(_BEGINNINGS):
        return True
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and row.keys() >= {"reasoning", "error", "model"}


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of UTF-8 JSON; decimals as numbers, missing values as null."""
    return (json.dumps(row, ensure_ascii=False, default=float) + "\n").encode("utf-8", "backslashreplace")


def _for_terminal(line: bytes, kind: str) -> bytes:
    """A line without terminal control characters; JSON stays valid JSON."""
    text, end = line.decode("utf-8", "replace")[:-1], "\n"
    if kind == "json":
        text = "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in text)
    return (printable(text) + end).encode()


class _Standard:
    """Standard output as one of several outputs: if it fails, the others continue."""

    def __init__(self, kind: str, alone: bool) -> None:
        self._kind, self._alone, self._terminal = kind, alone, sys.stdout.isatty()
        self.failure: OutputError | None = None

    def write(self, line: bytes) -> None:
        if self.failure is not None:
            return
        try:
            sys.stdout.buffer.write(_for_terminal(line, self._kind) if self._terminal else line)
            sys.stdout.buffer.flush()  # so that the reader of a pipe gets each row at once
        except OutputError as error:
            if self._alone:
                raise
            self.failure = error


@dataclass
class Outputs:
    """The outputs of a command, if any. `failure` is why standard output lacks rows.

    writers  each takes the bytes of a line that its format makes of a row
    """

    writers: list[tuple[Callable[[bytes], Any], Callable[[Row], bytes]]]
    standard: _Standard | None = None

    def write(self, row: Row) -> None:
        """Write one row to every output."""
        for put, formatted in self.writers:
            put(formatted(row))

    @property
    def failure(self) -> OutputError | None:
        return None if self.standard is None else self.standard.failure


@contextmanager
def writing(csv_path: str | None, jsonl_path: str | None, columns: Sequence[str]) -> Iterator[Outputs]:
    """The outputs of a command. Files are renamed into place at the end; `-` is standard output.

    Raises OutputError at once if standard output is the only output and fails.
    """
    outputs = Outputs([])
    alone = not any(path not in (None, "-") for path in (csv_path, jsonl_path))

    def csv_row(row: Row) -> bytes:
        return csv_line(row.get(column) for column in columns)

    with ExitStack() as stack:
        for path, kind in ((csv_path, "csv"), (jsonl_path, "json")):
            if path is None:
                continue
            put: Callable[[bytes], Any]
            if path == "-":
                outputs.standard = _Standard(kind, alone)
                put = outputs.standard.write
            else:
                put = stack.enter_context(write_atomically(path)).write
            if kind == "csv":
                put(csv_line(columns))
            outputs.writers.append((put, csv_row if kind == "csv" else json_line))
        yield outputs
