"""Imports run one way: commands, api -> core, and inside core downwards only:

page -> report, bench, training -> inference -> engines -> models, data, images, metrics -> tasks -> errors, files
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "qinsight_cli"

# From below to above. A module may import its own layer and the layers before it.
LAYERS = (
    ("qinsight_cli", "core.errors", "core.csv_text", "core.encodings", "core.extras"),
    ("core.disk_errors", "core.output_checks", "core.files", "core.storage"),
    ("core.tasks",),
    ("core.models", "core.data", "core.images", "core.metrics"),
    ("core.engines",),
    ("core.inference",),
    ("core.report", "core.bench", "core.training"),
    ("core.page",),
    ("commands", "api"),
    ("cli",),
    ("__main__",),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, ast.Module]:
    """Dotted name inside the package ("" for the package itself) -> its parsed source."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}  # modules that Windows lacks


def imports(tree: ast.Module) -> set[str]:
    """The modules of the package that a source imports, also inside functions, but not for type checking alone."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    named = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            named |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    inside = {name.removeprefix("qinsight_cli").removeprefix(".") for name in named if name.startswith("qinsight_cli")}
    return {name for name in inside if name in MODULES}


def rank(module: str) -> int | None:
    """The layer of a module; None for a package that only holds others."""
    parts = (module or "qinsight_cli").split(".")
    return next((RANKS[name] for i in range(len(parts), 0, -1) if (name := ".".join(parts[:i])) in RANKS), None)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("core", "tiny")])
def test_no_arrow_runs_up(module: str) -> None:
    own = rank(module)
    assert own is not None, f"{module} stands in no layer; add it to LAYERS"
    above = {name for name in imports(MODULES[module]) if (rank(name) or 0) > own}
    assert not above, f"{module} imports from above: {sorted(above)}"


def test_no_circle() -> None:
    arrows = {name: {other for other in imports(tree) if other != name} for name, tree in MODULES.items()}
    while free := [name for name, others in arrows.items() if not others]:
        arrows = {name: others - set(free) for name, others in arrows.items() if name not in free}
    assert not arrows, f"these import each other in a circle: {sorted(arrows)}"


def test_the_walk_sees_imports_inside_functions_and_from_packages() -> None:
    source = "from qinsight_cli.core.tasks import TASKS\ndef f():\n    from qinsight_cli.commands import score\n"
    assert imports(ast.parse(source)) == {"core.tasks", "commands", "commands.score"}
    assert rank("commands.score") > rank("core.report.rows") > rank("core.inference.assess") > rank("core.tasks.base")  # type: ignore[operator]


def test_nothing_of_posix_alone_is_needed_at_import() -> None:
    for name, tree in MODULES.items():
        plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]  # outside of a try
        named = {alias.name for node in plain for alias in node.names} | {getattr(node, "module", "") for node in plain}
        assert not named & POSIX, name
