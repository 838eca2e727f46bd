"""What is counted of the rows of a command, and the lines that end it."""

from __future__ import annotations

from collections import Counter

from qinsight_cli.commands.console import say
from qinsight_cli.commands.options import Output
from qinsight_cli.core.images import TOO_MANY
from qinsight_cli.core.report.rows import AGREEMENT, Row

UNANSWERED = "unanswered"


def facts_of(row: Row) -> list[str]:
    """What is counted of a row."""
    facts = ["rows"]
    if row["error"] is not None:
        facts.append("errors")
        if TOO_MANY in row["error"]:
            facts.append("large")
    if row.get(AGREEMENT):
        facts.append(row[AGREEMENT])
    return facts


def sum_up(counts: Counter[str], output: Output) -> None:
    """Say how many rows there are, and what a reader of them should know."""
    where = "".join(f", written to {path}" for path in output.files)
    rows = "1 row" if counts["rows"] == 1 else f"{counts['rows']} rows"
    say(f"{rows}, {counts['errors']} with an error{where}")
    if counts[UNANSWERED] and output.files:
        say(f"the server did not answer {counts[UNANSWERED]} times: run the same command again to ask only about those")
    if counts["large"]:
        say(f"{counts['large']} too large: --max-image-pixels N reads pictures of up to N pixels")
    if counts["disagree"]:
        compared = counts["agree"] + counts["disagree"]
        say(f"in {counts['disagree']} of {compared} pairs the answer changes with the order of the images")
