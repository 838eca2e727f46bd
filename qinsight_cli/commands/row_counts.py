"""Counts of the rows of a command, and the closing lines of the command."""

from __future__ import annotations

from collections import Counter

from qinsight_cli.commands.console import counted, say
from qinsight_cli.commands.options import Output
from qinsight_cli.core.images import TOO_MANY
from qinsight_cli.core.report.rows import AGREEMENT, Row

UNANSWERED = "unanswered"


def facts_of(row: Row) -> list[str]:
    """The names under which a row is counted."""
    facts = ["rows"]
    if row["error"] is not None:
        facts.append("errors")
        if TOO_MANY in row["error"]:
            facts.append("large")
    if row.get(AGREEMENT):
        facts.append(row[AGREEMENT])
    return facts


def sum_up(counts: Counter[str], output: Output) -> None:
    """Tell the user how many rows there are, and what went wrong."""
    where = "".join(f", written to {path}" for path in output.files)
    say(f"{counted(counts['rows'], 'row')}, {counts['errors']} with an error{where}")
    if counts[UNANSWERED] and output.files:
        say(unanswered(counts[UNANSWERED]))
    if counts["large"]:
        say(f"{counts['large']} too large: --max-image-pixels N reads pictures of up to N pixels")
    if counts["disagree"]:
        compared = counts["agree"] + counts["disagree"]
        say(f"in {counts['disagree']} of {compared} pairs the answer changes with the order of the images")


def unanswered(count: int) -> str:
    return f"the server did not answer {counted(count, 'time')}: run the same command again to ask only those questions"
