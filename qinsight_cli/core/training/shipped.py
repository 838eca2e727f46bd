"""YAML files by the name of a shipped one, or by path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from qinsight_cli.core.errors import QInsightError


def names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_yaml(folder: Path, name: str, absent: str, kind: str) -> Path:
    """The shipped file of this name, else the file `name`.

    Raises QInsightError, beginning with `absent`, if there is none. `kind` is the plural of what the folder holds.
    """
    for path in (folder / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    near = get_close_matches(name, names_in(folder), n=1)
    hint = f"did you mean {near[0]}?" if near else f"{kind} are {', '.join(names_in(folder))}, or give a YAML file"
    raise QInsightError(f"{absent} {name!r}; {hint}")
