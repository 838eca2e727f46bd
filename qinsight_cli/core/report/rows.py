"""Results as CSV and JSON lines; a resumed run writes the same bytes as an undisturbed one.

A rating is written with two decimals, as the model gives it; a mean over samples with three, an expected rating with
four. Standard deviations and probabilities have three.
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
from qinsight_cli.core.inference.aggregate import AggregatedAnswer, aggregate_answers
from qinsight_cli.core.inference.assess import Result
from qinsight_cli.core.report.tables import printable
from qinsight_cli.core.tasks import TASKS, ParseFailure, Task
from qinsight_cli.core.tasks.comparison import MIRRORED

Row = dict[str, Any]  # column -> str, int, Decimal or None, and what only JSON lines show

BOM = b"\xef\xbb\xbf"
_BEGINNINGS = tuple(",".join(task.row_columns[:-3]).encode() + b"," for task in TASKS.values())  # of a CSV written here
AGREEMENT = "agreement"  # one more column for comparisons asked in both orders: "agree", "disagree" or empty


def columns_of(task: Task, direct: bool = False) -> tuple[str, ...]:
    """The columns of a table of rows; a direct answer has its probabilities beside it."""
    columns = task.row_columns
    more = task.choices.columns if direct and task.choices else ()
    return (*columns[:-3], *more, *columns[-3:])


def row_of(task: Task, result: Result, model: str) -> Row:
    """One Result -> one row.

    Unreadable samples keep what the model wrote; an expected rating keeps, as `written`, the number that each sample
    wrote.
    """
    aggregated = (
        aggregate_answers(task, result.answers, result.distributions)
        if result.error is None
        else AggregatedAnswer(error=result.error)
    )
    digits = 4 if result.distributions else 2 if len(result.answers) == 1 else 3
    fields = {name: _number(value, digits) for name, value in task.written(aggregated.fields).items()}
    known: Row = {**result.images, **{column: result.images.get(role) for column, role in task.image_columns.items()}}
    known |= {**fields, f"{task.number}_std": _number(aggregated.std, 3), "samples": aggregated.parsed}
    known |= {"verdict": _verdict(task, aggregated), "reasoning": aggregated.reasoning, "error": aggregated.error}
    row: Row = {column: known.get(column) for column in task.row_columns}
    row |= _chances(task, result, aggregated)
    row["model"] = model
    row["prompt_tokens"] = result.completions[0].prompt_tokens if result.completions else 0
    row["completion_tokens"] = sum(completion.completion_tokens for completion in result.completions)
    if result.notes:
        row["notes"] = list(result.notes)
    unread = [c.text for c, a in zip(result.completions, result.answers, strict=True) if isinstance(a, ParseFailure)]
    if unread:
        row["unread"] = unread
    return row


def _verdict(task: Task, aggregated: AggregatedAnswer) -> str | None:
    """None where there is no answer to tell of."""
    return task.verdict(aggregated.fields, aggregated.reasoning) if aggregated.error is None else None


def _chances(task: Task, result: Result, aggregated: AggregatedAnswer) -> Row:
    """What stands beside an answer that was read from probabilities."""
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
    """A float as a decimal with the digits to write; other values unchanged."""
    return Decimal(f"{value:.{digits}f}") if isinstance(value, float) else value


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


def is_output(head: bytes) -> bool:
    """Whether a file that begins with these bytes was written here, so that the next run may replace it."""
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
    """A line without characters that could steer a terminal; JSON stays JSON."""
    text, end = line.decode("utf-8", "replace")[:-1], "\n"
    if kind == "json":
        text = "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in text)
    return (printable(text) + end).encode()


class _Standard:
    """Standard output as one of several outputs: if it fails, the others continue."""

    def __init__(self, kind: str, alone: bool) -> None:
        self._kind, self._alone, self._steers = kind, alone, sys.stdout.isatty()
        self.failure: OutputError | None = None

    def write(self, line: bytes) -> None:
        if self.failure is not None:
            return
        try:
            sys.stdout.buffer.write(_for_terminal(line, self._kind) if self._steers else line)
            sys.stdout.buffer.flush()  # a reader at the other end of a pipe sees each row at once
        except OutputError as error:
            if self._alone:
                raise
            self.failure = error


@dataclass
class Outputs:
    """`write` one row to every output asked for; there may be none. `failure` is why standard output lacks rows."""

    writers: list[Callable[[Row], None]]
    standard: _Standard | None = None

    def write(self, row: Row) -> None:
        for write in self.writers:
            write(row)

    @property
    def failure(self) -> OutputError | None:
        return None if self.standard is None else self.standard.failure


Put = Callable[[bytes], Any]


def _csv_writer(put: Put, columns: Sequence[str]) -> Callable[[Row], None]:
    return lambda row: put(csv_line(row.get(column) for column in columns))


def _json_writer(put: Put) -> Callable[[Row], None]:
    return lambda row: put(json_line(row))


@contextmanager
def writing(csv_path: str | None, jsonl_path: str | None, columns: Sequence[str]) -> Iterator[Outputs]:
    """The outputs asked for. Files are renamed into place at the end; `-` is standard output.

    Raises OutputError at once when nothing but standard output is written and it fails.
    """
    outputs = Outputs([])
    alone = not any(path not in (None, "-") for path in (csv_path, jsonl_path))
    with ExitStack() as stack:
        for path, kind in ((csv_path, "csv"), (jsonl_path, "json")):
            if path is None:
                continue
            put: Put
            if path == "-":
                outputs.standard = _Standard(kind, alone)
                put = outputs.standard.write
            else:
                put = stack.enter_context(write_atomically(path)).write
            if kind == "csv":
                put(csv_line(columns))
                outputs.writers.append(_csv_writer(put, columns))
            else:
                outputs.writers.append(_json_writer(put))
        yield outputs
