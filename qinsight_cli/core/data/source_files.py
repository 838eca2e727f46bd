"""Search in the folder of a dataset: its label files, its pictures, and which dataset it is."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from qinsight_cli.core.data.names import path_parts, same_name
from qinsight_cli.core.data.readers import published
from qinsight_cli.core.encodings import encoding_of
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.find import EXTENSIONS, unescaped

DEPTH = 3  # label files are searched in the folder and this many levels below it


def label_files(source: Path, name: str) -> list[Path]:
    """The label files of dataset `name` in a folder, by the first of its signs that matches; a file gives itself.

    Raises QInsightError if there are none, naming the dataset that the folder looks like.
    """
    known = published()
    title, signs = known[name].title, known[name].signs
    if not source.exists():
        raise QInsightError(f"no such file or folder: {source}")
    if source.is_file():
        return [source]
    for sign in signs:
        if found := _matching(source, sign):
            return found
    others = [other for other in looks_like(source) if other != name]
    hint = (
        f"it looks like {known[others[0]].title}: qinsight prepare {others[0]} {source}"
        if others
        else "see docs/datasets.md"
    )
    raise QInsightError(f"{source} is not {title}: it has no {' or '.join(signs)}; {hint}")


def looks_like(source: Path) -> list[str]:
    """The datasets whose label files are in the folder, the best known sign first."""
    found = []
    for name, dataset in published().items():
        files = [path for sign in dataset.signs for path in _matching(source, sign)]
        if files and dataset.first_line in _first_line(files[0]):
            found.append(name)
    return found


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(1000)
        return head.decode(encoding_of(head), "replace").partition("\n")[0]
    except OSError:
        return ""


def other_header(path: Path, name: str, wanted: str, found: Sequence[str]) -> QInsightError:
    """The error for a label file with an unexpected header; `name` may be "" for a table of no known dataset."""
    known = published()
    if name not in known:
        return QInsightError(
            f"{path} has the columns {','.join(found)[:200]}, not {wanted}; name the columns that it has"
        )
    others = [other for other in looks_like(path.parent) if other != name]
    hint = f"; it looks like {known[others[0]].title}" if others else ""
    header = ",".join(found)
    return QInsightError(
        f"{path}: the header is {header[:80]!r}, not {known[name].title}'s {wanted!r}{hint}; give the authors' file"
    )


def _matching(source: Path, pattern: str) -> list[Path]:
    """Files at most `DEPTH` levels down whose path ends with the pattern, ignoring case, shallowest first."""
    wanted = pattern.lower().split("/")
    found = []
    for path in _files(source, DEPTH):
        ending = [part.lower() for part in path.parts[-len(wanted) :]]
        if len(ending) == len(wanted) and all(map(fnmatch.fnmatchcase, ending, wanted)):
            found.append(path)
    depth = min((len(path.parts) for path in found), default=0)
    return sorted(path for path in found if len(path.parts) == depth)


def _files(folder: Path, depth: int | None = None, without: Path | None = None) -> Iterator[Path]:
    """All files below a folder, sorted, without hidden ones and the folder `without`; links are followed once."""
    seen = {os.path.realpath(without)} if without is not None else set()
    top = len(folder.parts)
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        deep_enough = depth is not None and len(Path(root).parts) - top >= depth
        if real in seen or deep_enough:
            folders.clear()
        if real in seen:
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


class ImageFinder:
    """The pictures below a folder, looked up by the names in label files.

    Case and normal form do not matter, nor do leading folders that only the label file or only the disk has. If
    several pictures match, the one that shares the most folders with the name wins; then one below an earlier entry of
    `folders`; then the first by name. Pictures below `without`, the dataset folder, are ignored.
    """

    def __init__(self, root: Path, folders: Sequence[str] = (), without: Path | None = None) -> None:
        if not root.is_dir():
            raise QInsightError(f"no such folder: {root}")
        self.root = root
        self._folders = [same_name(folder) for folder in folders]
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in _files(root, without=without):
            if path.suffix.lower() in EXTENSIONS:
                self._by_name.setdefault(same_name(path.name).strip(), []).append(path)
                self._by_stem.setdefault(same_name(path.stem).strip(), []).append(path)

    def __iter__(self) -> Iterator[Path]:
        return (path for paths in self._by_name.values() for path in paths)

    def find(self, name: str) -> Path | None:
        """Raises QInsightError if a name without its extension fits several pictures equally well."""
        return self._found(name) or (self._found(plain) if (plain := unescaped(name)) != name else None)

    def _found(self, name: str) -> Path | None:
        parts = path_parts(name)
        if not parts:
            return None
        found = self._fitting(self._by_name.get(parts[-1], []), parts, name)
        if not found and not parts[-1].endswith(EXTENSIONS):
            found = self._fitting(self._by_stem.get(parts[-1], []), parts, name)
            if len(found) > 1 and self._rank(found[0], parts, name)[:2] == self._rank(found[1], parts, name)[:2]:
                raise QInsightError(f"{name!r} could be {found[0]} or {found[1]}; write more of it, or its extension")
        return found[0] if found else None

    def _fitting(self, named: Sequence[Path], parts: Sequence[str], name: str) -> list[Path]:
        """The paths that end as the name does, best first: a/x.png never matches b/x.png."""
        fitting = [path for path in named if self._shared(path, parts) == min(len(self._own(path)), len(parts))]
        return sorted(fitting, key=lambda path: self._rank(path, parts, name))

    def _own(self, path: Path) -> list[str]:
        return [same_name(part).strip() for part in path.relative_to(self.root).parts]

    def _shared(self, path: Path, parts: Sequence[str]) -> int:
        """How many names at the end of both are equal; the last one may lack its extension."""
        own = self._own(path)
        if own[-1] != parts[-1]:
            own[-1] = own[-1].rpartition(".")[0].strip()
        same = (mine == theirs for mine, theirs in zip(reversed(own), reversed(parts), strict=False))
        return next((index for index, one in enumerate(same) if not one), min(len(own), len(parts)))

    def _rank(self, path: Path, parts: Sequence[str], name: str) -> tuple[int, int, bool, str]:
        above = self._own(path)[:-1]
        preferred = next((i for i, folder in enumerate(self._folders) if folder in above), len(self._folders))
        return -self._shared(path, parts), preferred, not name.endswith(path.name), str(path)
