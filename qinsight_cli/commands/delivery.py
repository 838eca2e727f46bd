"""The rows of score, degrade and compare on their way to files, a table, bare paths, or a gallery."""

from __future__ import annotations

from collections.abc import Sequence

from qinsight_cli.commands.console import counted, progress, say, show, summarize, width, write_path
from qinsight_cli.commands.options import Output
from qinsight_cli.commands.selection import Showing
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.report.gallery.cards import Card, card_of
from qinsight_cli.core.report.gallery.page import About
from qinsight_cli.core.report.gallery.write import pages_folder, write_gallery
from qinsight_cli.core.report.rows import Outputs, Row
from qinsight_cli.core.report.selection import Selection
from qinsight_cli.core.report.summary import MANY, Summary
from qinsight_cli.core.report.tables import make_table
from qinsight_cli.core.tasks import Task


class Delivery:
    """Takes the rows of a run one by one. If they are to be sorted, they wait for the last row."""

    def __init__(self, task: Task, columns: Sequence[str], output: Output, showing: Showing | None) -> None:
        """Raises UsageError if paths and rows would share standard output."""
        self.task, self.columns, self.output, self.showing = task, columns, output, showing
        self.selection = showing.selection if showing else Selection()
        self.summary = Summary(task)
        self.delivered = 0
        self._cards: list[Card] = []
        self._waiting: list[Row] = []
        self._table: list[Row] = []
        if showing is not None and showing.paths_only and "-" in output.paths:
            raise UsageError("--paths and rows cannot share standard output: give the rows a file")

    def take(self, row: Row, outputs: Outputs) -> None:
        """Take one more row."""
        self.summary.add(row)
        if self.selection.waits:
            self._waiting.append(row)
        elif self.selection.keeps(self.task, row):
            self._deliver(row, outputs)

    def complete(self, outputs: Outputs) -> None:
        """Deliver the waiting rows, after the last row."""
        waited, self._waiting = self.selection.of(self.task, self._waiting), []
        for row in waited:
            self._deliver(row, outputs)

    def _deliver(self, row: Row, outputs: Outputs) -> None:
        self.delivered += row["error"] is None
        if self.showing is not None and self.showing.paths_only:
            if row["error"] is None:
                write_path(str(row[next(iter(self.task.image_columns))]), self.showing.null)
        elif not self.output.paths:
            self._table.append(row)
        if self.output.html is not None:
            self._cards.append(card_of(self.task, row))
        outputs.write(row)

    def show(self) -> None:
        """Show the table, if the rows go to no file; after an interruption, with the rows so far."""
        waited = self.selection.of(self.task, self._waiting) if not self.output.paths else []
        if self.showing is None or not self.showing.paths_only:
            rows, self._table = [*self._table, *waited], []
            if rows:
                show(make_table(self.columns, rows, self.output.show_reasoning, width()))

    def write_gallery(self, model: str, max_pixels: int) -> None:
        """Write the gallery of the delivered rows, if there is --html."""
        if self.output.html is None:
            return
        noun = "picture" if len(self.task.roles) == 1 else "pair"
        title = f"{counted(len(self._cards), noun)} judged by {model}"
        about = About(title, self.summary.line, self.summary.counts())
        with progress("thumbnails", len(self._cards)) as advance:
            pages = write_gallery(self.output.html, about, self._cards, max_pixels, advance)
        if pages > 1:
            say(f"the gallery has {pages} pages: {self.output.html} and the folder {pages_folder(self.output.html)}")

    def sum_up(self) -> None:
        """Tell the user how many rows a selection has left, and show a summary of many answers."""
        if self.selection.chooses:
            say(f"{self.delivered:,} of {self.summary.answered:,} shown")
        if self.summary.answered >= MANY:
            summarize(self.summary.shown)
