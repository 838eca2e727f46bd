"""Shell completion: names of models, tables, metrics, recipes, and prepared datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def models(incomplete: str) -> list[str]:
    """Model names, also after a label, and folders with a model."""
    from qinsight_cli.core.models.names import SHORT_NAMES, TINY

    label, equals, word = incomplete.rpartition("=")
    names = [TINY, *SHORT_NAMES, *_folders(word, "config.json")]
    return [label + equals + name for name in _matching(names, word)]


def tables(incomplete: str) -> list[str]:
    """The tables of the paper, by name and alias."""
    from qinsight_cli.core.bench.paper import TABLES

    return _matching([*(name for table in TABLES for name in (table.name, table.alias)), "all"], incomplete)


def metrics(incomplete: str) -> list[str]:
    """The metrics with a row in a table."""
    from qinsight_cli.core.bench.systems.metric import BASELINES
    from qinsight_cli.core.bench.systems.psnr_ssim import METRICS

    return _matching([*METRICS, *(each.name for each in BASELINES)], incomplete)


def recipes(incomplete: str) -> list[str]:
    """The recipes of the package, and YAML files."""
    from qinsight_cli.core import training

    inside = [path.stem for path in sorted((Path(training.__file__).parent / "recipes").glob("*.yaml"))]
    return _matching([*inside, *map(str, sorted(Path().glob("*.yaml")))], incomplete)


def datasets(incomplete: str) -> list[str]:
    """Prepared datasets in data/, or in the folder that the word names."""
    from qinsight_cli.core.data.manifest import CARD, DATA

    return _matching([*_folders(f"{DATA}/", CARD), *_folders(incomplete, CARD)], incomplete)


def _folders(path: str, file: str) -> list[str]:
    """The folders that an incomplete path may become and that have a certain file."""
    parent = Path(path) if path.endswith("/") else Path(path).parent
    return [str(found.parent) for found in sorted(parent.glob(f"*/{file}"))]


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


# An option, or the name of an argument on the help page -> the function that completes it.
COMPLETED: dict[str, Callable[[str], list[str]]] = {
    "--model": models,
    "--metric": metrics,
    "--recipe": recipes,
    "--data": datasets,
    "--eval-data": datasets,
    "TABLE": tables,
}
