"""What the shell may complete: names of models, tables, metrics, recipes, and prepared datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def models(incomplete: str) -> list[str]:
    """Model names, also after a label, and folders that hold a model."""
    from qinsight_cli.core.models.names import SHORT_NAMES, TINY

    label, equals, begun = incomplete.rpartition("=")
    names = [TINY, *SHORT_NAMES, *_folders(begun, "config.json")]
    return [label + equals + name for name in _of(names, begun)]


def tables(incomplete: str) -> list[str]:
    """The tables of the paper, and their other names."""
    from qinsight_cli.core.bench.paper import TABLES

    return _of([*(name for table in TABLES for name in (table.name, table.alias)), "all"], incomplete)


def metrics(incomplete: str) -> list[str]:
    """The metrics that have a row in a table."""
    from qinsight_cli.core.bench.systems.metric import BASELINES
    from qinsight_cli.core.bench.systems.psnr_ssim import METRICS

    return _of([*METRICS, *(each.name for each in BASELINES)], incomplete)


def recipes(incomplete: str) -> list[str]:
    """The recipes of the package, and YAML files."""
    from qinsight_cli.core import training

    inside = [path.stem for path in sorted((Path(training.__file__).parent / "recipes").glob("*.yaml"))]
    return _of([*inside, *map(str, sorted(Path().glob("*.yaml")))], incomplete)


def datasets(incomplete: str) -> list[str]:
    """Prepared datasets: those in data/, or in the folder begun."""
    from qinsight_cli.core.data.manifest import CARD, DATA

    return _of(
        [*(str(path.parent) for path in sorted(DATA.glob(f"*/{CARD}"))), *_folders(incomplete, CARD)], incomplete
    )


def _folders(begun: str, holding: str) -> list[str]:
    """Folders beside the one begun that hold a certain file."""
    parent = Path(begun) if begun.endswith("/") else Path(begun).parent
    return [str(path.parent) for path in sorted(parent.glob(f"*/{holding}"))]


def _of(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


# Option, or the name of an argument on the help page -> what completes it.
COMPLETED: dict[str, Callable[[str], list[str]]] = {
    "--model": models,
    "--metric": metrics,
    "--recipe": recipes,
    "--data": datasets,
    "--eval-data": datasets,
    "TABLE": tables,
}
