"""What every system of a bench has: its interface, its answers, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qinsight_cli.core.bench.datasets import Dataset
from qinsight_cli.core.engines import Decoding


@dataclass(frozen=True)
class RowAnswer:
    """The answer to one row.

    fields     as `Task.fields`, a rating on any scale; with an error what the task keeps of an unreadable answer
    error      why there is no answer, or None
    reasoning  what a model wrote before the answer
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    reasoning: str = ""


@dataclass(frozen=True)
class AnswerSettings:
    """The settings of all questions.

    folder      of the bench; journals go to `folder`/journals
    batch_size  None: the engine decides
    sequential  ask about one distortion at a time
    say         tells the user one line
    progress    a noun and a total -> a context manager of the function to call after each row
    style       of the prompts, as in `Task.styled`
    """

    folder: Path
    decoding: Decoding
    batch_size: int | None
    seed: int
    restart: bool
    sequential: bool
    say: Callable[[str], None]
    progress: Callable[[str, int], Any]
    style: str = "paper"

    def journal(self, label: str, dataset: Dataset, what: str) -> str:
        """The path of the journal of one system on one dataset."""
        folder = self.folder / "journals"
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / f"{file_name(label)}-{file_name(dataset.key)}-{what}.journal.jsonl")


class System(Protocol):
    """A model, a metric, or a predictions file.

    label  its name in the tables
    note   a footnote of its line, or ""
    """

    label: str
    note: str

    def refusal(self, dataset: Dataset) -> str | None:
        """Why it cannot answer this dataset; None if it can."""

    def answers(self, dataset: Dataset, settings: AnswerSettings) -> Sequence[RowAnswer]:
        """One answer for each row of the dataset, in order."""

    def facts(self) -> Mapping[str, Any]:
        """The facts that bench.json records."""

    def close(self) -> None:
        """Free memory and stop processes."""


def split_label(argument: str) -> tuple[str, str]:
    """`LABEL=NAME` -> (label, name); the label may be missing. Both may contain "=": the longest name that exists
    counts, else the text after the last "="."""
    places = [place for place, letter in enumerate(argument) if letter == "="]
    if not places:
        return "", argument
    here = next(
        (place for place in places if argument[place + 1 :] and Path(argument[place + 1 :]).exists()), places[-1]
    )
    return argument[:here].strip(), argument[here + 1 :]


def file_name(words: str) -> str:
    """Words as the start of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in words).lstrip("-")[:80]
