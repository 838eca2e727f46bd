"""The list of the paper's tables, and how to choose some by name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from qinsight_cli.core.bench.figures import Table
from qinsight_cli.core.bench.protocols import protocol_of
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.tasks import TASKS

TABLES: tuple[Table, ...] = tuple(
    sorted(
        (table for task in TASKS.values() if task.protocol for table in protocol_of(task.name).TABLES),
        key=lambda table: table.number,
    )
)


def choose_tables(names: Iterable[str]) -> list[Table]:
    """The tables with these names, aliases or numbers, in the paper's order; `all` means all. Raises UsageError for an
    unknown name."""
    known = {key.lower(): table for table in TABLES for key in (table.name, table.alias, table.number)}
    wanted: set[str] = set()
    for name in names:
        if name.lower() == "all":
            wanted |= {table.number for table in TABLES}
        elif name.lower() in known:
            wanted.add(known[name.lower()].number)
        else:
            near = get_close_matches(name.lower(), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            tables = ", ".join(f"{table.name} ({table.alias})" for table in TABLES)
            raise UsageError(f"no table {name!r}; {hint}tables are {tables}, and all")
    return [table for table in TABLES if table.number in wanted]
