"""constraints.txt names a version of all that the package and its tests need, within what pyproject.toml allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def test_every_dependency_has_a_version_that_it_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [Requirement(each) for each in (*project["dependencies"], *extras["test"])]
    # The test extra names other extras of the package itself.
    within = [
        Requirement(line) for each in named if each.name == "qinsight" for name in each.extras for line in extras[name]
    ]
    wanted = [each for each in (*named, *within) if each.name != "qinsight"]
    assert len(wanted) > 20
    outside = [
        str(need) for need in wanted if not need.specifier.contains(pinned.get(canonicalize_name(need.name), "0"))
    ]
    assert not outside, f"constraints.txt lacks a fitting version of {outside}: make constraints writes one"


def test_the_versions_can_be_installed_from_any_index() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "+" not in text
    assert "@" not in text
